package main

import (
	"runtime/debug"
	"time"
)

// version is the release, as in the top entry of CHANGELOG.md. The commit is read from the build.
const version = "0.2.0"

// released is the month of this version, printed on the man pages.
var released = time.Date(2026, time.November, 1, 0, 0, 0, 0, time.UTC)

func versionText() string {
	if c := commit(); c != "" {
		return version + " (" + c + ")"
	}
	return version
}

// commit is that of the source, "" where the build does not know it.
func commit() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				return s.Value[:12]
			}
		}
	}
	return ""
}
