// Package pipeline analyses one study: pixels in, finding out. Analyze shows all stages on one screen; each stage is its own
// package. A study that cannot be analysed gives a finding that says why, not an error. An error means that a retry may
// succeed.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/errgroup"

	"ichor/models/bundle"
	"ichor/pipeline/analysis"
	"ichor/pipeline/bleed"
	"ichor/pipeline/cavity"
	"ichor/pipeline/finding"
	"ichor/pipeline/measure"
	"ichor/pipeline/nnunet"
	"ichor/pipeline/patient"
	"ichor/pipeline/quality"
	"ichor/pipeline/selection"
	"ichor/pipeline/subtype"
	"ichor/pipeline/volume"
	"ichor/pipeline/window"
	"ichor/scp/dcm"
)

// Net is one network; see window.Net.
type Net = window.Net

// Decoder decodes the pixels of an object in any supported transfer syntax to the format of dcm.File.PixelData. It is called
// from many goroutines.
type Decoder interface {
	Pixels(context.Context, *dcm.File) ([]byte, error)
}

// Options configure an Analyzer.
type Options struct {
	Bundle       *bundle.Bundle // input and output of the networks, thresholds
	CavityTissue Net
	CavityBone   Net
	Bleed        Net
	NNUNet       []Net   // in the place of Bleed, if that is of nnU-Net: its folds
	Subtype      Net     // names what nnU-Net finds, if the bundle has such a network
	Decoder      Decoder // nil: only uncompressed pixels are read
	Runs         window.Runs
	Progress     func(done, total int) // after each patch of nnU-Net; nil: not told
	Selection    selection.Options
}

// ObjectReader is an opened Part 10 file.
type ObjectReader interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// Input is one received object. Open is called more than once.
type Input interface {
	Open() (ObjectReader, error)
}

// Named is an Input with a name that a person knows, such as its file name. Reasons and warnings use it.
type Named interface{ Name() string }

// Study is a study to analyse.
type Study struct {
	UID      string
	Objects  []Input
	NIfTI    Input  // in place of Objects: a .nii or .nii.gz file. Its study has no UID
	InOrder  bool   // Objects come in the order of arrival: of two copies of an image the later one counts
	Complete string // the rule by which the study was complete; recorded in the finding
	Early    bool   // more objects may still arrive: end with ErrPartial if slices are missing
}

// ErrPartial is returned for a study with Early set whose series lacks slices.
var ErrPartial = errors.New("the series is not contiguous")

// running is the result of an analysis in progress.
type running struct {
	analysis.Analysis
	part bool // of a head
}

// Analyzer holds the networks. It is safe for concurrent use.
type Analyzer struct{ o Options }

// New returns an Analyzer. The networks must match the bundle, which must have all three roles.
func New(o Options) *Analyzer {
	return &Analyzer{o}
}

// Analyze finds and measures hemorrhage in a study. Errors come from ctx, from reading, or from a network.
func (a *Analyzer) Analyze(ctx context.Context, study Study) (*analysis.Analysis, error) {
	return a.conclude(ctx, study, a.analyze)
}

// Parameters returns the settings that findings depend on, as they name them.
func (a *Analyzer) Parameters() map[string]string { return parameters(a.o.Bundle, a.o.Selection) }

// conclude runs stages on a study. A refusal is a finding.
func (a *Analyzer) conclude(ctx context.Context, study Study, stages func(context.Context, Study, *running) error) (*analysis.Analysis, error) {
	r := &running{Analysis: analysis.Analysis{Finding: finding.Finding{
		Status: finding.Analyzed, Disclaimer: finding.Disclaimer, Study: finding.Study{StudyInstanceUID: study.UID}, Complete: study.Complete,
		Bundle: bundleOf(a.o.Bundle), Parameters: a.Parameters(),
		TimingMS: map[string]int64{},
	}}}
	err := stages(ctx, study, r)
	if refusal := new(finding.Refusal); errors.As(err, &refusal) {
		r.refuse(refusal)
		err = nil
	}
	if err != nil {
		return nil, err
	}
	if r.Header == nil { // no object can be read
		r.Header = &dcm.DataSet{}
		r.Header.SetStrings(dcm.StudyInstanceUID, "UI", study.UID)
	}
	return &r.Analysis, nil
}

// read runs the stages before the networks: a volume in Hounsfield units.
func (a *Analyzer) read(ctx context.Context, study Study, r *running) error {
	in, err := step(ctx, r, "read", func() (*images, error) { return readStudy(ctx, study, a.o.Selection, r) })
	if err != nil {
		return err
	}
	if _, err := step(ctx, r, "patient", func() (struct{}, error) { return struct{}{}, patient.One(in.headers) }); err != nil {
		return err
	}
	choice, err := step(ctx, r, "selection", func() (selection.Choice, error) { return choose(in, a.o.Selection, r) })
	if err != nil {
		return err
	}
	r.Volume, err = step(ctx, r, "volume", func() (*volume.Volume, error) { return build(ctx, in, choice, a.o.Decoder, r) })
	return err
}

func (a *Analyzer) analyze(ctx context.Context, study Study, r *running) error {
	b := a.o.Bundle
	tissue := cavity.Network{Net: a.o.CavityTissue, Spec: b.Network(bundle.CavityTissue)}
	bone := cavity.Network{Net: a.o.CavityBone, Spec: b.Network(bundle.CavityBone)}
	bleeds := b.Network(bundle.Bleed)
	err := a.read(ctx, study, r)
	if err != nil {
		return err
	}
	if study.Early && !contiguous(r.Volume) {
		return ErrPartial
	}
	r.Cavity, err = step(ctx, r, "cavity", func() (*volume.Mask, error) { return cavity.Mask(ctx, r.Volume, tissue, bone, a.o.Runs) })
	if err != nil {
		return err
	}
	if err := r.checkCavity(); err != nil {
		return err
	}
	warnings, err := step(ctx, r, "quality", func() ([]string, error) { return quality.Check(r.Volume, r.Cavity) })
	if err != nil {
		return err
	}
	r.Finding.Warnings = append(r.Finding.Warnings, warnings...)
	marks, err := step(ctx, r, "bleed", func() (*bleed.Marks, error) { return a.mark(ctx, r) })
	if err != nil {
		return err
	}
	_, err = step(ctx, r, "measure", func() (struct{}, error) { return struct{}{}, r.measure(ctx, marks, bleeds) })
	return err
}

// contiguous reports whether no slice seems to be missing. A stack of two spacings, as of thin slices below thick ones, is
// contiguous if each gap occurs twice in a row.
func contiguous(v *volume.Volume) bool {
	const same = 1.2
	gaps := v.Gaps()
	for i, g := range gaps {
		alike := func(k int) bool { return k >= 0 && k < len(gaps) && g < same*gaps[k] }
		if !alike(i-1) && !alike(i+1) && len(gaps) > 1 {
			return false
		}
	}
	return true
}

// mark runs the network that finds hemorrhage, and the one that names it if that is another.
func (a *Analyzer) mark(ctx context.Context, r *running) (*bleed.Marks, error) {
	spec := a.o.Bundle.Network(bundle.Bleed)
	if spec.NNUNet == nil {
		return bleed.Find(ctx, r.Volume, r.Cavity, a.o.Bleed, spec, a.o.Runs)
	}
	var names *volume.Mask
	if n := a.o.Bundle.Network(bundle.Subtype); n != nil {
		var err error
		if names, err = bleed.Names(ctx, r.Volume, r.Cavity, a.o.Subtype, n, a.o.Runs); err != nil {
			return nil, err
		}
	}
	reader := &nnunet.Reader{Spec: spec, Folds: a.o.NNUNet, Runs: a.o.Runs, Progress: a.o.Progress}
	return bleed.Collect(ctx, r.Volume, r.Cavity, reader, spec, names)
}

// measure decides which hemorrhages to report and measures them; for the range also with a lower and a higher threshold.
func (r *running) measure(ctx context.Context, marks *bleed.Marks, spec *bundle.Network) error {
	g := &r.Volume.Grid
	settled, clots, err := settle(ctx, marks, spec, g)
	if err != nil {
		return err
	}
	r.Finding.LeastLesionML = max(measure.MinLesionML, spec.Post.MinComponentML)
	var spread, others measure.Range
	var levels errgroup.Group // two at a time: each label volume is as large as half of the images
	levels.Go(func() error {
		for _, level := range []bleed.Level{bleed.Lenient, bleed.Strict} {
			labels, err := settled(level)
			if err != nil {
				return err
			}
			others.Add(labels, g)
		}
		return nil
	})
	levels.Go(func() (err error) {
		if r.Labels, err = settled(bleed.Chosen); err != nil {
			return err
		}
		spread.Add(r.Labels, g)
		r.Finding.Lesions = measure.Lesions(r.Labels, clots, r.Cavity, g, r.Finding.LeastLesionML)
		return nil
	})
	if err := levels.Wait(); err != nil {
		return err
	}
	spread.Include(others)
	v, bounds := measure.Volumes(r.Labels, g), spread.Finding()
	if !spec.TellsSubtypes() {
		v.Untold, bounds.Low.Untold, bounds.High.Untold = true, true, true
		r.Finding.Warnings = append(r.Finding.Warnings, "These networks find hemorrhage of any kind but do not determine its subtype.")
	}
	r.Finding.Volumes, r.Finding.Range = &v, bounds
	for i := range r.Finding.Lesions {
		l := &r.Finding.Lesions[i]
		first, last := r.Volume.Sources[l.Slices[0]].Number(), r.Volume.Sources[l.Slices[1]].Number()
		l.Images = [2]int{min(first, last), max(first, last)}
	}
	return nil
}

// settle decides which hemorrhages are reported, their subtypes, and where they end. It returns the labels of a level, and the clots
// before their edge is cut, nil if the bundle has no edge.
func settle(ctx context.Context, marks *bleed.Marks, spec *bundle.Network, g *volume.Grid) (func(bleed.Level) (*volume.Mask, error), *volume.Components, error) {
	settled := func(level bleed.Level) (*volume.Mask, error) {
		labels, err := marks.Labels(ctx, level)
		if err == nil {
			subtype.Settle(labels, g, spec.Post.SubtypePer)
		}
		return labels, err
	}
	if spec.Post.ByAnatomy() {
		parts, err := marks.Parts(ctx)
		if err != nil {
			return nil, nil, err
		}
		names := subtype.Names(parts)
		settled = func(level bleed.Level) (*volume.Mask, error) { return parts.Labels(names, level), ctx.Err() }
	}
	if spec.Post.Edge > 0 {
		return marks.Edged(settled)
	}
	return settled, nil, nil
}

func bundleOf(b *bundle.Bundle) finding.Bundle {
	f := finding.Bundle{Name: b.Name, Version: b.Version, Digest: b.Digest}
	if len(b.Training.Limits) > 0 {
		f.Caution = b.Training.Limits[0]
	}
	return f
}

// step runs one stage: it checks ctx, names the stage in the error and records the time taken.
func step[T any](ctx context.Context, r *running, stage string, do func() (T, error)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, fmt.Errorf("%s: %w", stage, err)
	}
	start := time.Now()
	out, err := do()
	end := time.Now()
	r.Finding.TimingMS[stage] = end.Sub(start).Milliseconds()
	r.Steps = append(r.Steps, analysis.Step{Name: stage, Start: start, End: end})
	if err != nil {
		return none, fmt.Errorf("%s: %w", stage, err)
	}
	return out, nil
}

// refuse turns r into the result of a refused study.
func (r *running) refuse(why *finding.Refusal) {
	f := &r.Finding
	f.Status, f.Code, f.Reason, f.Seen = finding.Refused, why.Code, why.Text(), why.Reason
	f.Volumes, f.Range, f.Lesions, f.Series, f.CavityML = nil, nil, nil, nil, 0
	for i := range f.Candidates {
		f.Candidates[i].Chosen = false
	}
	r.Volume, r.Labels, r.Cavity = nil, nil, nil
}

// checkCavity measures the cavity. It refuses a study without one, or with one larger than any head. Part of a head is analysed,
// with a warning, because the networks work on single slices.
func (r *running) checkCavity() error {
	none, small := 50.0, 600.0         // mL
	const large, huge = 2200.0, 3500.0 // mL
	if r.part {
		none, small = 1, 0
	}
	ml := r.Cavity.VolumeML(&r.Volume.Grid)
	r.Finding.CavityML = ml
	switch {
	case ml < none:
		return finding.Refuse(finding.EmptyCavity,
			"No intracranial cavity was found (%.0f mL): the series may not show a head, or not as the networks know it.\nRead it without ichor.", ml)
	case ml > huge:
		return finding.Refuse(finding.EmptyCavity,
			"What the networks took for the intracranial cavity measures %.0f mL, more than any head holds: the series shows more than a head, or not as "+
				"they know it.\nSend the head as a series of its own, or read it without ichor.", ml)
	case ml < small, ml > large:
		r.Finding.Warnings = append(r.Finding.Warnings, fmt.Sprintf("The intracranial cavity measures %.0f mL, which is unusual; "+
			"check its contour before you trust the volumes.", ml))
	}
	return nil
}
