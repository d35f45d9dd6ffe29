package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/draw"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"ichor/cmd/ichor/node"
	"ichor/config"
	"ichor/pipeline/analysis"
	"ichor/pipeline/finding"
	"ichor/pipeline/score"
	"ichor/reporting"
)

// comparison is what two bundles make of the same studies. The first stands for the truth in Overlap.
type comparison struct {
	A          finding.Bundle   `json:"a"`
	B          finding.Bundle   `json:"b"`
	Studies    []comparedStudy  `json:"studies"`
	Agreement  *score.Agreement `json:"agreement,omitempty"` // B minus A; nil if no study was read by both
	Disclaimer string           `json:"disclaimer"`
}

// comparedStudy is one study read with both bundles.
type comparedStudy struct {
	Study   string           `json:"study"`
	A       *finding.Volumes `json:"a,omitempty"` // nil: refused
	B       *finding.Volumes `json:"b,omitempty"`
	Dice    *float64         `json:"dice,omitempty"` // of the two masks, nil if one refused
	Reason  string           `json:"reason,omitempty"`
	Picture string           `json:"picture,omitempty"`
}

func newModelsCompare() *cobra.Command {
	var out string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "compare A B STUDY...",
		Short: "Analyse studies with two bundles: volumes, Dice of the two masks, picture",
		Long: "compare analyses each study with bundle A and with bundle B and prints the volumes, the Dice of the two masks and\n" +
			"the agreement of the totals. With --out it writes the two summary pages of each study side by side as a PNG.\n" +
			"Agreement says nothing about which of the two is right; for that, see 'ichor score'.\n\n" + finding.Disclaimer,
		Example: "  ichor models compare ichor-synthetic my-bundle/ study/ head.nii.gz --out pictures/",
		Args:    cobra.MinimumNArgs(3),
	}
	cmd.Flags().StringVar(&out, "out", "", "`FOLDER` for the pictures")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	keys := map[string]string{}
	for flag, key := range engineFlags {
		if flag != "bundle" {
			keys[flag] = key
		}
	}
	s := withSettings(cmd, keys)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := s.load()
		if err != nil {
			return err
		}
		found, err := compareBundles(cmd.Context(), c, args[0], args[1], args[2:], out)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), found)
		}
		return found.print(cmd.OutOrStdout())
	}
	return cmd
}

// compareBundles holds the networks of one bundle at a time, and the results of the first.
func compareBundles(ctx context.Context, c config.Config, a, b string, studies []string, out string) (*comparison, error) {
	found := &comparison{Disclaimer: finding.Disclaimer}
	first, err := analyzeEach(ctx, c, a, studies)
	if err != nil {
		return nil, err
	}
	second, err := analyzeEach(ctx, c, b, studies)
	if err != nil {
		return nil, err
	}
	found.A, found.B = first[0].Finding.Bundle, second[0].Finding.Bundle
	var rows []score.Row
	for i, name := range studies {
		s := comparedStudy{Study: name, A: first[i].Finding.Volumes, B: second[i].Finding.Volumes}
		if s.A == nil || s.B == nil {
			s.Reason = strings.TrimSpace(first[i].Finding.Reason + " " + second[i].Finding.Reason)
			found.Studies = append(found.Studies, s)
			continue
		}
		row := score.Compare(score.Case{Name: name, Truth: first[i].Labels, Found: second[i].Labels, VoxelML: 1})
		row.TruthML, row.FoundML = s.A.Total, s.B.Total // slices may differ in thickness
		rows = append(rows, row)
		dice := row.Overlap.Dice()
		s.Dice = &dice
		if out != "" {
			s.Picture = filepath.Join(out, fmt.Sprintf("%d-%s.png", i+1, strings.TrimSuffix(filepath.Base(filepath.Clean(name)), ".nii.gz")))
			if err := sideBySide(ctx, c, s.Picture, first[i], second[i]); err != nil {
				return nil, err
			}
		}
		found.Studies = append(found.Studies, s)
	}
	if len(rows) > 0 {
		agreement := score.Summarise(rows).Volumes
		found.Agreement = &agreement
	}
	return found, nil
}

// analyzeEach analyses all studies with one bundle.
func analyzeEach(ctx context.Context, c config.Config, bundle string, studies []string) (results []*analysis.Analysis, err error) {
	c.Analysis.Bundle = bundle
	e, err := node.OpenEngine(ctx, c.Analysis)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	bar := progress(len(studies), e.Bundle.Name)
	for _, path := range studies {
		study, err := studyFromFiles(ctx, path, "")
		if err != nil {
			return nil, err
		}
		result, err := e.Analyzer.Analyze(ctx, study)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		results = append(results, result)
		if err := bar.Add(1); err != nil {
			return nil, err
		}
	}
	return results, bar.Finish()
}

// sideBySide writes the summary pages of two analyses as one picture.
func sideBySide(ctx context.Context, c config.Config, path string, pair ...*analysis.Analysis) error {
	var pages []image.Image
	size := image.Point{}
	for _, a := range pair {
		report, err := reporting.New(*a, node.ReportingOptions(c, version))
		if err != nil {
			return err
		}
		var raw bytes.Buffer
		if err := report.WritePNG(ctx, &raw); err != nil {
			return err
		}
		page, err := png.Decode(&raw)
		if err != nil {
			return err
		}
		pages = append(pages, page)
		size = image.Point{size.X + page.Bounds().Dx(), max(size.Y, page.Bounds().Dy())}
	}
	both := image.NewRGBA(image.Rectangle{Max: size})
	x := 0
	for _, p := range pages {
		draw.Draw(both, image.Rect(x, 0, x+p.Bounds().Dx(), p.Bounds().Dy()), p, p.Bounds().Min, draw.Src)
		x += p.Bounds().Dx()
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("pictures: %w; choose a writable folder with --out", err)
	}
	return writeFile(path, func(w io.Writer) error { return png.Encode(w, both) })
}

func (c *comparison) print(w io.Writer) error {
	fmt.Fprintf(w, "A: %s %s, digest %.12s\nB: %s %s, digest %.12s\n\n", c.A.Name, c.A.Version, c.A.Digest, c.B.Name, c.B.Version, c.B.Digest)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "study\tA mL\tB mL\tB - A\tDice\tby subtype, A / B")
	for _, s := range c.Studies {
		if s.Dice == nil {
			fmt.Fprintf(t, "%s\trefused\t\t\t\t%s\n", s.Study, s.Reason)
			continue
		}
		var parts []string
		for _, k := range finding.Kinds {
			if s.A.Of(k) > 0 || s.B.Of(k) > 0 {
				parts = append(parts, fmt.Sprintf("%s %.1f / %.1f", k, s.A.Of(k), s.B.Of(k)))
			}
		}
		fmt.Fprintf(t, "%s\t%.1f\t%.1f\t%+.1f\t%.3f\t%s\n", s.Study, s.A.Total, s.B.Total, s.B.Total-s.A.Total, *s.Dice, strings.Join(parts, ", "))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if a := c.Agreement; a != nil {
		fmt.Fprintf(w, "\ntotals, B minus A: bias %.2f mL, 95 %% limits of agreement %.2f to %.2f mL, median absolute difference %.2f mL, n %d\n",
			a.BiasML, a.LimitsML[0], a.LimitsML[1], a.MedianError, a.N)
	}
	for _, s := range c.Studies {
		if s.Picture != "" {
			fmt.Fprintln(w, "picture:", s.Picture)
		}
	}
	_, err := fmt.Fprintln(w, finding.Disclaimer)
	return err
}
