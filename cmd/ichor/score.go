package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"ichor/pipeline/finding"
	"ichor/pipeline/score"
	"ichor/pipeline/volume"
)

// scoreFile has a line for each scan.
const scoreFile = "score.csv"

// scored is the score of a folder of results.
type scored struct {
	Set        string         `json:"set"`
	Scans      int            `json:"scans"`
	Missing    []string       `json:"without_result"` // masks of scans that no result belongs to
	Refused    []string       `json:"refused"`        // scans that ichor did not read; they are not in the figures
	Others     int            `json:"without_mask"`   // results of scans that have no mask
	Summary    score.Summary  `json:"summary"`
	Paper      []score.Figure `json:"paper,omitempty"` // Table 3, of the volumes that bleed
	PaperAll   []score.Figure `json:"paper_all,omitempty"`
	CSV        string         `json:"csv"`
	Disclaimer string         `json:"disclaimer"`
}

func newScore() *cobra.Command {
	var truth, set, labels, out string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "score RESULTS --truth FOLDER",
		Short: "Compare results with the masks of a data set",
		Long: "score reads what 'ichor analyze --all' wrote for NIfTI files, and the masks that readers drew. It prints Dice,\n" +
			"precision and recall as the paper defines them, the agreement of volumes, and what was found by size; for the\n" +
			"sets of the paper, its figures beside them. score.csv has a line for each scan.\n\n" +
			"The layout of Seg-CQ500, Hssayeni, BHSD and INSTANCE is recognised. Any other folder is plain: the mask of a scan\n" +
			"has the name of the scan, and every value but 0 is blood; --labels names the subtypes.\n\n" + finding.Disclaimer,
		Example: "  ichor analyze --all Seg-CQ500/ --out results/\n  ichor score results/ --truth Seg-CQ500/\n" +
			"  ichor score results/ --truth masks/ --labels 1=IPH,2=IVH,3=SAH,4=SDH,5=EDH --json",
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&truth, "truth", "", "`FOLDER` of the data set, or of its masks (required)")
	cmd.Flags().StringVar(&set, "set", "", "`NAME`: seg-cq500, hssayeni, bhsd, instance or plain (default: by the layout)")
	cmd.Flags().StringVar(&labels, "labels", "", "subtype of each value of a mask, as 1=IPH,2=IVH (default: that of the set)")
	cmd.Flags().StringVar(&out, "out", "", "`FILE` for the lines of the scans (default: score.csv in RESULTS)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if truth == "" {
			return usageError("give the folder of the masks: --truth FOLDER")
		}
		if out == "" {
			out = filepath.Join(args[0], scoreFile)
		}
		s, err := scoreAll(cmd.Context(), args[0], truth, set, labels, out)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), s)
		}
		return s.print(cmd.OutOrStdout())
	}
	return cmd
}

// scoreAll compares the results below dir with the masks below truth.
func scoreAll(ctx context.Context, dir, truth, name, labels, out string) (*scored, error) {
	set, masks, err := truths(truth, name)
	if err != nil {
		return nil, err
	}
	if err := set.withLabels(labels); err != nil {
		return nil, err
	}
	results, err := resultsBelow(dir)
	if err != nil {
		return nil, err
	}
	if len(results) == 0 {
		return nil, fmt.Errorf("no results below %s; make them with 'ichor analyze --all FOLDER --out %s'", dir, dir)
	}
	s := &scored{Set: set.name, CSV: out, Disclaimer: finding.Disclaimer, Missing: []string{}, Refused: []string{}}
	open := maps.Clone(masks)
	var rows []score.Row
	bar := progress(len(results), "scoring")
	for _, r := range results {
		if err := errors.Join(ctx.Err(), bar.Add(1)); err != nil {
			return nil, err
		}
		key := set.key(r.input)
		mask, ok := masks[key]
		if set.name != "plain" && set.isMask(r.input) { // a mask that was analysed with the scans
			continue
		}
		if !ok {
			s.Others++
			continue
		}
		if _, ok := open[key]; !ok {
			return nil, fmt.Errorf("two results below %s belong to scan %s; score them one by one", dir, key)
		}
		delete(open, key)
		row, err := r.score(key, mask, &set)
		switch {
		case errors.Is(err, errRefusedScan):
			s.Refused = append(s.Refused, key)
			continue
		case err != nil:
			return nil, err
		}
		rows = append(rows, row)
	}
	if err := bar.Finish(); err != nil {
		return nil, err
	}
	s.Missing = append(s.Missing, slices.Sorted(maps.Keys(open))...)
	if len(rows) == 0 {
		return nil, fmt.Errorf("none of %d results belongs to one of %d masks of %s; name the layout with --set", len(results), len(masks), set.name)
	}
	s.Scans, s.Summary = len(rows), score.Summarise(rows)
	s.PaperAll, s.Paper = score.Paper(set.name)
	return s, writeFile(out, func(w io.Writer) error { return writeScores(w, rows) })
}

// errRefusedScan: the analysis refused the scan, so there is no mask.
var errRefusedScan = errors.New("refused")

// result is one scan that was analysed.
type result struct {
	dir   string
	input string
}

// resultsBelow finds the folders with inputFile below dir, in order.
func resultsBelow(dir string) (out []result, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != inputFile {
			return err
		}
		in, err := readInput(filepath.Dir(path))
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		name := in.Input
		if name == "." { // a single file was analysed
			name = filepath.Base(filepath.Dir(path))
		}
		out = append(out, result{filepath.Dir(path), name})
		return nil
	})
	return out, err
}

func (r result) score(key, truth string, set *truthSet) (score.Row, error) {
	found, err := readMask(filepath.Join(r.dir, maskFile))
	if errors.Is(err, os.ErrNotExist) {
		return score.Row{}, errRefusedScan
	}
	if err != nil {
		return score.Row{}, err
	}
	want, err := readMask(truth)
	if err != nil {
		return score.Row{}, err
	}
	if want.Size != found.Size {
		return score.Row{}, fmt.Errorf("%s has %v voxels, the result of %s %v: they are not of one scan", truth, want.Size, r.input, found.Size)
	}
	c := score.Case{Name: key, VoxelML: voxelML(found.Affine)}
	c.Truth, c.Found = maskOf(found.Size, want.HU, set.label), maskOf(found.Size, found.HU, func(v int16) uint8 { return uint8(v) })
	return score.Compare(c), nil
}

func maskOf(size [3]int, values []int16, label func(int16) uint8) *volume.Mask {
	m := &volume.Mask{Rows: size[1], Columns: size[0], Voxels: make([]uint8, len(values))}
	for i, v := range values {
		m.Voxels[i] = label(v)
	}
	return m
}

// voxelML is the determinant of an affine.
func voxelML(a [3][4]float64) float64 {
	det := a[0][0]*(a[1][1]*a[2][2]-a[1][2]*a[2][1]) - a[0][1]*(a[1][0]*a[2][2]-a[1][2]*a[2][0]) + a[0][2]*(a[1][0]*a[2][1]-a[1][1]*a[2][0])
	return math.Abs(det) / 1000
}

func writeScores(w io.Writer, rows []score.Row) error {
	lines := csv.NewWriter(w)
	lines.Write([]string{"scan", "dice", "precision", "recall", "truth_ml", "found_ml", "tp", "fp", "fn", "lesions", "lesions_found"})
	for _, r := range rows {
		number := func(v float64) string { return strconv.FormatFloat(v, 'f', 4, 64) }
		found := 0
		for _, l := range r.Lesions {
			if l.Found {
				found++
			}
		}
		lines.Write([]string{r.Name, number(r.Overlap.Dice()), number(r.Overlap.Precision()), number(r.Overlap.Recall()), number(r.TruthML), number(r.FoundML),
			strconv.Itoa(r.Overlap.TP), strconv.Itoa(r.Overlap.FP), strconv.Itoa(r.Overlap.FN), strconv.Itoa(len(r.Lesions)), strconv.Itoa(found)})
	}
	lines.Flush()
	return lines.Error()
}

func (s *scored) print(w io.Writer) error {
	fmt.Fprintf(w, "%s: %d scans scored, %d refused by the analysis, %d without a result; %d results without a mask\n\n", s.Set, s.Scans, len(s.Refused), len(s.Missing), s.Others)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "mean ± SD over volumes, %\tn\tDice\tprecision\trecall\tmedian Dice")
	percent := func(v score.Spread) string { return fmt.Sprintf("%.2f ± %.2f", 100*v.Mean, 100*v.SD) }
	line := func(name string, g score.Group) {
		if g.Dice.N > 0 {
			fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%.2f\n", name, g.Dice.N, percent(g.Dice), percent(g.Precision), percent(g.Recall), 100*g.MedianDice)
		}
	}
	figures := func(name string, of []score.Figure) {
		for _, f := range of {
			fmt.Fprintf(t, "paper, %s: %s\t\t%.2f ± %.2f\t%.2f ± %.2f\t%.2f ± %.2f\t\n", name, f.Method, f.Dice[0], f.Dice[1], f.Precision[0], f.Precision[1], f.Recall[0], f.Recall[1])
		}
	}
	line("all", s.Summary.All)
	figures("all", s.PaperAll)
	line("with hemorrhage", s.Summary.Bleeding)
	figures("with hemorrhage", s.Paper)
	for _, k := range finding.Subtypes {
		line(k.String(), s.Summary.Subtypes[k.String()])
	}
	if err := t.Flush(); err != nil {
		return err
	}
	v := s.Summary.Volumes
	fmt.Fprintf(w, "\nvolumes, found minus true: bias %.2f mL, 95 %% limits of agreement %.2f to %.2f mL, median absolute error %.2f mL, r %.3f, n %d\n",
		v.BiasML, v.LimitsML[0], v.LimitsML[1], v.MedianError, v.Correlation, v.N)
	for _, part := range []struct {
		name string
		of   []score.Size
	}{{"scans", s.Summary.Scans}, {"lesions", s.Summary.Lesions}} {
		fmt.Fprintf(w, "%s found, by mL:", part.name)
		for _, z := range part.of {
			to := fmt.Sprintf("%g-%g", z.FromML, z.ToML)
			if z.ToML == 0 {
				to = fmt.Sprintf("%g and more", z.FromML)
			}
			fmt.Fprintf(w, "  %s: %d of %d", to, z.Found, z.N)
		}
		fmt.Fprintln(w)
	}
	if s.Summary.Normal > 0 {
		fmt.Fprintf(w, "scans without hemorrhage: nothing found in %d of %d, %.2f mL on average\n", s.Summary.Clean, s.Summary.Normal, s.Summary.FalseML)
	}
	_, err := fmt.Fprintf(w, "lines: %s\n%s\n", s.CSV, finding.Disclaimer)
	return err
}
