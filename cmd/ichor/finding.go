package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"ichor/pipeline/finding"
)

// printFinding prints the volumes, beside the true ones if they are known, and the folder of the results.
func printFinding(w io.Writer, f finding.Finding, truth *finding.Volumes, out string) error {
	if f.Status == finding.Refused {
		fmt.Fprintf(w, "refused (%s): %s\n", f.Code, f.Reason)
	} else {
		t := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
		if truth != nil {
			fmt.Fprintln(t, "\tfound mL\ttrue mL\t")
		} else {
			fmt.Fprintln(t, "\tmL\t")
		}
		for _, s := range append(slices.Clone(f.Volumes.Shown()), finding.None) {
			name := s.String()
			if s == finding.None {
				name = "total"
			}
			if truth != nil {
				fmt.Fprintf(t, "%s\t%.1f\t%.1f\t\n", name, f.Volumes.Of(s), truth.Of(s))
			} else {
				fmt.Fprintf(t, "%s\t%.1f\t\n", name, f.Volumes.Of(s))
			}
		}
		if err := t.Flush(); err != nil {
			return err
		}
		fmt.Fprintf(w, "\nintracranial cavity %.0f mL, %d slices, %d lesions\n", f.CavityML, f.Series.Slices, len(f.Lesions))
	}
	for _, warning := range f.Warnings {
		fmt.Fprintf(w, "warning: %s\n", warning)
	}
	if len(f.TimingMS) > 0 {
		var parts []string
		for _, stage := range slices.Sorted(maps.Keys(f.TimingMS)) {
			parts = append(parts, fmt.Sprintf("%s %d ms", stage, f.TimingMS[stage]))
		}
		fmt.Fprintf(w, "time: %s\n", strings.Join(parts, ", "))
	}
	if out != "" {
		fmt.Fprintf(w, "results: %s\n", out)
	}
	fmt.Fprintf(w, "model: %s %s. %s\n", f.Bundle.Name, f.Bundle.Version, f.Bundle.Caution)
	_, err := fmt.Fprintln(w, finding.Disclaimer)
	return err
}
