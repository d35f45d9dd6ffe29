package bundle

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"unicode"
)

// CardFile is the name of the model card in the folder of a bundle. It is optional. The manifest does not list it, because
// the card names the digest of the manifest.
const CardFile = "CARD.md"

const maxCard = 1 << 20

// Card returns the model card without control characters, which could change the terminal.
func (b *Bundle) Card() (string, error) {
	raw, err := readCapped(filepath.Join(b.Dir, CardFile), maxCard)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("bundle %s has no %s; 'python -m ich card --bundle DIR' writes one from the manifest", b.Dir, CardFile)
	}
	if err != nil {
		return "", fmt.Errorf("model card: %w", err)
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, string(raw)), nil
}
