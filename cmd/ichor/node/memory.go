package node

import (
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// minMemory is what a node with one worker needs, in bytes. It idles at 270 MB, and takes 563 MB to analyse 32 slices. A
// node that was limited to 300 MB was killed during each analysis, one with 700 MB was not.
const minMemory = 700_000_000

// CheckMemory compares the memory that this process may use with what an analysis needs. root is the root of the file
// system, for /proc and /sys.
func CheckMemory(root fs.FS) (detail string, err error) {
	have, whose := memory(root)
	switch {
	case have == 0:
		return "not known on this system", nil
	case have < minMemory:
		return "", fmt.Errorf("%s is %d MB, an analysis needs %d MB and may be killed; give the node more memory", whose, have/1e6, minMemory/1_000_000)
	}
	return fmt.Sprintf("%s is %d MB, %d MB are needed", whose, have/1e6, minMemory/1_000_000), nil
}

// memory returns the bytes that this process may use: the memory of the machine, or the lowest limit of its control group
// (cgroup v2) and the groups above. 0 if neither can be read.
func memory(root fs.FS) (bytes uint64, whose string) {
	read := func(name string) string {
		b, _ := fs.ReadFile(root, name) // what is missing sets no limit
		return strings.TrimSpace(string(b))
	}
	for line := range strings.Lines(read("proc/meminfo")) {
		if kb, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			n, _ := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(kb), "kB")), 10, 64)
			bytes, whose = n<<10, "memory of this machine"
		}
	}
	for line := range strings.Lines(read("proc/self/cgroup")) {
		group, ok := strings.CutPrefix(strings.TrimSpace(line), "0::/")
		for ; ok; group = path.Dir(group) {
			limit, err := strconv.ParseUint(read(path.Join("sys/fs/cgroup", group, "memory.max")), 10, 64) // or "max"
			if err == nil && (bytes == 0 || limit < bytes) {
				bytes, whose = limit, "memory limit of the control group (MemoryMax)"
			}
			ok = group != "." && group != ""
		}
	}
	return bytes, whose
}
