package node

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"ichor/config"
	"ichor/models/bundle"
)

// bundleFolders hold the bundles that are installed side by side, relative to the folder of the binary.
var bundleFolders = [...]string{"../models/bundles", "../share/ichor/bundles"}

const defaultBundle = "ichor-synthetic"

// BundlePath returns the bundle set in the configuration, a folder or the name of one that is installed, or the one shipped with
// ichor.
func BundlePath(c config.Analysis) (string, error) {
	name := c.Bundle
	if name == "" {
		name = defaultBundle
	} else if _, err := os.Stat(name); err == nil || strings.ContainsRune(name, filepath.Separator) {
		return name, nil
	}
	var candidates []string
	for _, folder := range bundleFolders {
		candidates = append(candidates, folder+"/"+name)
	}
	path, err := shipped("the model bundle "+name, "analysis.bundle", candidates...)
	if err != nil && c.Bundle != "" {
		return "", fmt.Errorf("%s is no folder, and no bundle of that name is installed; set analysis.bundle to a folder, or to a name of 'ichor models list --installed'", name)
	}
	return path, err
}

// InstalledBundles returns the folders of the bundles that are installed side by side.
func InstalledBundles() ([]string, error) {
	path, err := BundlePath(config.Analysis{})
	if err != nil {
		return nil, err
	}
	found, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*", bundle.ManifestFile))
	if err != nil {
		return nil, err
	}
	for i := range found {
		found[i] = filepath.Dir(found[i])
	}
	return found, nil
}
