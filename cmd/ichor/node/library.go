package node

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"ichor/config"
	"ichor/models/onnx"
)

// CheckLibrary examines ONNX Runtime without loading it.
func CheckLibrary(c config.Analysis) error {
	path, err := libraryPath(c)
	if err != nil {
		return err
	}
	return onnx.Intact(path, c.Library == "")
}

// MissingLibraries lists what the library of the execution provider needs and the loader does not find. It returns an error if the
// machine has no GPU driver.
func MissingLibraries(c config.Analysis) (missing []string, err error) {
	path, err := libraryPath(c)
	if err != nil {
		return nil, err
	}
	folder := filepath.Dir(path)
	if c.Provider == "cuda" || c.Provider == "tensorrt" {
		if _, err := os.Stat("/proc/driver/nvidia/version"); err != nil {
			return nil, fmt.Errorf("no NVIDIA driver is loaded on this machine (%w); install the driver, or set analysis.provider to cpu", err)
		}
		f, err := os.Open("/dev/nvidia0")
		if err != nil {
			return nil, fmt.Errorf("the GPU cannot be used by this user: %w; the unit needs DeviceAllow=char-nvidia", err)
		}
		_ = f.Close() // was only opened
	}
	provider := filepath.Join(folder, "libonnxruntime_providers_"+c.Provider+".so")
	needed, err := onnx.Needed(provider)
	if err != nil {
		return nil, fmt.Errorf("%w; install the package of the provider beside the library", err)
	}
	known := knownLibraries(folder)
	for _, name := range needed {
		if !slices.Contains(known, name) {
			missing = append(missing, name)
		}
	}
	return missing, nil
}

// knownLibraries lists the libraries that the loader finds: its cache, LD_LIBRARY_PATH, and the given folder.
func knownLibraries(folder string) (names []string) {
	for _, dir := range append(filepath.SplitList(os.Getenv("LD_LIBRARY_PATH")), folder) {
		entries, _ := os.ReadDir(dir) // a folder that is not there has none
		for _, e := range entries {
			names = append(names, e.Name())
		}
	}
	for _, ldconfig := range []string{"/sbin/ldconfig", "/usr/sbin/ldconfig"} {
		out, err := exec.Command(ldconfig, "-p").Output()
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(out)) {
			if name, _, ok := strings.Cut(strings.TrimSpace(line), " ("); ok {
				names = append(names, name)
			}
		}
		break
	}
	return names
}
