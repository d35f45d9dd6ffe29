package main

import "runtime/debug"

// version is the release, as in the top entry of CHANGELOG.md. The commit is read from the build.
const version = "0.2.0"

func versionText() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return version + " (" + s.Value[:12] + ")"
		}
	}
	return version
}
