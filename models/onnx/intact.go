package onnx

import (
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"fmt"
	"io"
	"os"
)

// Library that is shipped: onnxruntime 1.24.4 for Linux on x86-64, of the wheel that runtime.txt names.
const (
	ShippedBytes  = 22159232
	ShippedSHA256 = "2d518e11c7767f9fdc4413bdbeb45acf30db504ff76a82fc19d9238a3f9f6c24"
)

// Intact reads a shared library without loading it. A library that was copied in part crashes the process that loads it (SIGBUS),
// so its size is compared with what its headers say. For the shipped library, size and digest are compared as well.
func Intact(path string, shipped bool) error {
	const remedy = "copy it again, or install the package again"
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("%w: %w", errLibrary, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("%w: %w", errLibrary, err)
	}
	if shipped && info.Size() != ShippedBytes {
		return fmt.Errorf("%w: %s has %d bytes, not %d; %s", errLibrary, path, info.Size(), ShippedBytes, remedy)
	}
	e, err := elf.NewFile(f)
	if err != nil {
		return fmt.Errorf("%w: %s is not a whole shared library (%w); %s", errLibrary, path, err, remedy)
	}
	var end uint64
	for _, p := range e.Progs {
		end = max(end, p.Off+p.Filesz)
	}
	for _, s := range e.Sections {
		if s.Type != elf.SHT_NOBITS {
			end = max(end, s.Offset+s.FileSize)
		}
	}
	if uint64(info.Size()) < end {
		return fmt.Errorf("%w: %s is cut off: it has %d bytes of at least %d; %s", errLibrary, path, info.Size(), end, remedy)
	}
	if !shipped {
		return nil
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(f, 0, info.Size())); err != nil {
		return fmt.Errorf("%w: %s: %w", errLibrary, path, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != ShippedSHA256 {
		return fmt.Errorf("%w: %s has sha256 %s, not %s; %s", errLibrary, path, got, ShippedSHA256, remedy)
	}
	return nil
}

// Needed lists the shared libraries that a library asks the loader for.
func Needed(path string) ([]string, error) {
	e, err := elf.Open(path)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	return e.ImportedLibraries()
}
