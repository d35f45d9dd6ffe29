package node

import (
	"strings"
	"testing"
	"testing/fstest"
)

func TestCheckMemory(t *testing.T) {
	t.Parallel()
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	const large, small = "MemFree: 1 kB\nMemTotal:       16000000 kB\n", "MemTotal:  500000 kB\n"
	for _, c := range []struct {
		name    string
		meminfo string
		limits  map[string]string // of control groups
		want    string            // in the error; empty: enough
	}{
		{"large machine", large, nil, ""},
		{"small machine", small, nil, "memory of this machine is 512 MB"},
		{"no limit set", large, map[string]string{"system.slice/ichor.service": "max"}, ""},
		{"limit of the service", large, map[string]string{"system.slice/ichor.service": "300000000"}, "control group (MemoryMax) is 300 MB"},
		{"limit of the slice", large, map[string]string{"system.slice/ichor.service": "max", "system.slice": "600000000"}, "is 600 MB"},
		{"limit of a container", large, map[string]string{"": "650000000"}, "is 650 MB"},
		{"enough for one", large, map[string]string{"system.slice/ichor.service": "700000000"}, ""},
		{"another system", "", nil, ""},
	} {
		root := fstest.MapFS{"proc/meminfo": file(c.meminfo), "proc/self/cgroup": file("1:name=systemd:/x\n0::/system.slice/ichor.service\n")}
		for group, limit := range c.limits {
			root[strings.TrimSuffix("sys/fs/cgroup/"+group, "/")+"/memory.max"] = file(limit + "\n")
		}
		_, err := CheckMemory(root)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}
