package main

import "runtime/debug"

// version is the release, as in the top entry of CHANGELOG.md. The commit is read from the build.
const version = "0.2.0"

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
