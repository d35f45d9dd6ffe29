package pipeline

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"

	"ichor/pipeline/finding"
	"ichor/pipeline/hounsfield"
	"ichor/pipeline/selection"
	"ichor/pipeline/volume"
	"ichor/scp/dcm"
)

// images are the readable images of a study: one per object, or one per frame of a multi-frame CT.
type images struct {
	objects []received // image i belongs to objects[of[i]]
	of      []int
	headers []*dcm.DataSet                          // one per image, from volume.Frames
	decode  []func(context.Context) ([]byte, error) // of a NIfTI file, which has no objects: the pixels of each image
	unread  string                                  // the sentence about objects that cannot be read; "" for none

	replaced atomic.Int32 // objects of the volume in the place of which another copy was decoded
}

// received is one readable object.
type received struct {
	Input
	frames int
}

// readStudy reads the headers of a study, or its NIfTI file.
func readStudy(ctx context.Context, study Study, o selection.Options, r *running) (*images, error) {
	if study.NIfTI != nil {
		return readNIfTI(ctx, study, o.WithDefaults().MaxVoxels, r)
	}
	return readHeaders(ctx, study, r)
}

// readHeaders reads the header of every object. It skips unreadable objects and adds a warning with the reason. It refuses the
// study if no object can be read.
func readHeaders(ctx context.Context, study Study, r *running) (*images, error) {
	out := &images{}
	unread, assumed := notes{names: 20}, notes{}
	var without derived
	for i, o := range study.Objects {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var frames []*dcm.DataSet
		f, err := open(o, func(f *dcm.File) (err error) {
			without.complete(f, study.UID, i)
			frames, err = framesOf(f)
			return err
		})
		switch {
		case unreadable(err):
			unread.add(nameOf(o, i), err.Error())
			continue
		case err != nil:
			return nil, err
		}
		if f.Assumed != "" {
			assumed.add(nameOf(o, i), f.Assumed)
		}
		for _, h := range frames {
			if f.Lossy() { // set the attribute even if only the transfer syntax says so, for all users of the header
				h.SetStrings(dcm.LossyImageCompression, "CS", "01")
			}
			out.of = append(out.of, len(out.objects))
			out.headers = append(out.headers, h)
		}
		out.objects = append(out.objects, received{o, len(frames)})
	}
	if study.InOrder {
		out.leaveOutEarlierCopies(r)
	}
	if len(out.headers) > 0 {
		r.Header = out.headers[0]
	}
	if unread.n > 0 && len(out.headers) == 0 {
		unread.more = nil
		return nil, &finding.Refusal{Code: finding.Undecodable, Reason: fmt.Sprintf(
			"None of the %d objects of the study can be read: %s.", unread.n, unread.text())}
	}
	if unread.n > 0 {
		out.unread = fmt.Sprintf("%d of %d objects of the study cannot be read and were skipped: %s.", unread.n, len(study.Objects), unread.text())
		r.Finding.Warnings = append(r.Finding.Warnings, out.unread+" If they are slices of the head, that part is not in the result.")
	}
	if assumed.n > 0 {
		r.Finding.Warnings = append(r.Finding.Warnings, fmt.Sprintf("%d of %d objects of the study were read although their headers do not conform to the standard: %s.",
			assumed.n, len(study.Objects), assumed.text()))
	}
	without.say(&r.Finding, len(study.Objects))
	return out, nil
}

// notes collects notes about objects. It keeps each kind of note once, with the first object it applies to, and the names of
// some of the other objects.
type notes struct {
	names int // of other objects that text names
	n     int
	first []string // name and note of the first object of each kind
	more  []string // names of the others
	count map[string]int
}

// numbers matches numbers in a note: notes that differ only in numbers are of the same kind.
var numbers = regexp.MustCompile(`[0-9]+`)

func (c *notes) add(name, note string) {
	const kinds = 4
	c.n++
	if c.count == nil {
		c.count = map[string]int{}
	}
	kind := numbers.ReplaceAllString(note, "0")
	if c.count[kind]++; c.count[kind] == 1 && len(c.first) < kinds {
		c.first = append(c.first, name+": "+note)
	} else if len(c.more) < c.names {
		c.more = append(c.more, name)
	}
}

func (c *notes) text() string {
	said := strings.Join(c.first, "; ")
	if len(c.more) > 0 {
		said += "; also " + strings.Join(c.more, ", ")
	}
	if rest := c.n - len(c.first) - len(c.more); rest > 0 {
		said += fmt.Sprintf("; and %d more", rest)
	}
	return said
}

// nameOf returns the name of object i of a study for a sentence: its own name if it is Named.
func nameOf(o Input, i int) string {
	if named, ok := o.(Named); ok {
		return named.Name()
	}
	return fmt.Sprintf("object %d", i+1)
}

func framesOf(f *dcm.File) ([]*dcm.DataSet, error) {
	bytes := int64(-1)
	if f.Pixels != nil {
		bytes = f.Pixels.Length
	}
	return volume.Frames(f.Data, bytes)
}

// open reads the header of o and calls use while the object is open.
func open(o Input, use func(*dcm.File) error) (_ *dcm.File, err error) {
	in, err := o.Open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	f, err := dcm.Read(in, in.Size(), dcm.Limits{})
	if err != nil {
		return nil, err
	}
	return f, use(f)
}

// unreadable reports whether err is a defect of the object, and not a failure to read it.
func unreadable(err error) bool {
	for _, kind := range []error{dcm.ErrNotDICOM, dcm.ErrTruncated, dcm.ErrLimit, dcm.ErrTransferSyntax, dcm.ErrEncoding, dcm.ErrPixelData} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

func choose(in *images, o selection.Options, r *running) (selection.Choice, error) {
	c := selection.Choose(in.headers, o)
	r.Finding.Candidates = c.Candidates
	for i := range c.Candidates {
		if r.Scan != nil {
			c.Candidates[i].SeriesInstanceUID = "" // derived, for the analysis only
		}
	}
	if c.Refusal != nil {
		if c.Refusal.Code == finding.Incomplete && in.unread != "" {
			c.Refusal.Reason += " " + in.unread
		}
		return c, c.Refusal
	}
	return c, nil
}

// build reads the best series whose pixels can be decoded and show a head. If there is none, the refusal is that of the best
// series.
func build(ctx context.Context, in *images, c selection.Choice, d Decoder, r *running) (*volume.Volume, error) {
	var first *finding.Refusal
	for _, s := range c.Ranked {
		v, a, warnings, err := in.head(ctx, c, s, d)
		if refusal := new(finding.Refusal); errors.As(err, &refusal) {
			candidate := &r.Finding.Candidates[s.Candidate]
			candidate.Reasons, candidate.Code = append(candidate.Reasons, refusal.Text()), refusal.Code
			if first == nil {
				first = refusal
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		if first != nil {
			r.Finding.Warnings = append(r.Finding.Warnings, "The preferred series could not be read; another one was analysed. "+first.Reason)
		}
		r.Finding.Warnings = append(append(r.Finding.Warnings, s.Warnings...), warnings...)
		r.sayAssumed(in.headers[s.Images[0]], s.HeadNamed)
		if n := in.countLossy(s); n > 0 {
			r.Finding.Warnings = append(r.Finding.Warnings, fmt.Sprintf("%d of %d slices were compressed lossily, which changes the look of faint and small "+
				"bleeding; send the series uncompressed or losslessly compressed.", n, len(s.Images)))
		}
		r.Finding.Candidates[s.Candidate].Chosen, r.part = true, s.Part
		number, _ := in.headers[s.Images[0]].Int(dcm.SeriesNumber)
		r.Finding.Series = &finding.Series{SeriesInstanceUID: v.SeriesInstanceUID, Number: number, Slices: v.Slices(),
			SpacingMM: [3]float64{v.SpacingMM[0], v.SpacingMM[1], v.MedianGap()}, TiltDeg: a.TiltDeg}
		if r.Scan != nil {
			r.Finding.Series.SeriesInstanceUID = ""
		}
		r.Header = in.headers[s.Images[a.Order[0]]]
		return v, nil
	}
	return nil, first
}

// elsewhere names the other series and stacks of a study, of which one may show what the chosen one does not.
func (in *images) elsewhere(c selection.Choice, chosen selection.Series) string {
	var names []string
	for _, s := range c.Ranked {
		if s.Candidate == chosen.Candidate {
			continue
		}
		name := "a series without number"
		if n, ok := in.headers[s.Images[0]].Int(dcm.SeriesNumber); ok {
			name = fmt.Sprintf("series %d", n)
		}
		names = append(names, fmt.Sprintf("%s with %d slices", name, len(s.Images)))
	}
	return fmt.Sprintf("Other stacks of head slices in the study may show the missing part (%s); ichor does not combine them, and they are not in the result.", strings.Join(names, ", "))
}

// head is the volume of a series whose pixels are Hounsfield units and show a head, with what has to be said about them.
func (in *images) head(ctx context.Context, c selection.Choice, s selection.Series, d Decoder) (*volume.Volume, *volume.Arrangement, []string, error) {
	v, a, err := in.volume(ctx, s, d)
	if err != nil {
		return nil, nil, nil, err
	}
	values, err := hounsfield.Check(v)
	if errors.Is(err, hounsfield.ErrUnsigned) {
		for _, i := range s.Images {
			in.headers[i].Put(dcm.Element{Tag: dcm.PixelRepresentation, VR: "US", Value: []int64{1}})
		}
		if v, a, err = in.volume(ctx, s, d); err != nil {
			return nil, nil, nil, err
		}
		if values, err = hounsfield.Check(v); errors.Is(err, hounsfield.ErrUnsigned) {
			err = finding.Refuse(finding.NotHounsfield, "The pixels are not in Hounsfield units: most of them are above 32,767.\nSend the original series.")
		}
		values = append(values, "The pixels are negative numbers that the header calls positive (Pixel Representation 0). They were read as negative; "+
			"let the sender correct the header.")
	}
	if err != nil {
		return nil, nil, nil, err
	}
	if n := in.replaced.Load(); n > 0 {
		values = append(values, fmt.Sprintf("%d of %d images of the series have a copy whose pixels cannot be decoded; another copy was used.", n, len(s.Images)))
	}
	if s.Part {
		return v, a, values, selection.CheckPart(v, s.HeadNamed)
	}
	missing, err := selection.CheckHead(v, s.HeadNamed)
	if len(missing) > 0 && len(c.Ranked) > 1 {
		missing = append(missing, in.elsewhere(c, s))
	}
	return v, a, append(values, missing...), err
}

func (in *images) countLossy(s selection.Series) (n int) {
	for _, i := range s.Images {
		if in.headers[i].String(dcm.LossyImageCompression) == "01" {
			n++
		}
	}
	return n
}

func (in *images) volume(ctx context.Context, s selection.Series, d Decoder) (*volume.Volume, *volume.Arrangement, error) {
	slices := make([]volume.Slice, len(s.Images))
	whole := map[int]func() ([]byte, error){} // pixels of multi-frame objects, decoded once for all frames
	for k, i := range s.Images {
		if in.decode != nil {
			slices[k] = volume.Slice{Header: in.headers[i], Pixels: in.decode[i]}
			continue
		}
		frames, name := in.objects[in.of[i]].frames, volume.Name(in.headers[i], k)
		frame, ok := in.headers[i].Int(dcm.ReferencedFrameNumber)
		if !ok {
			slices[k] = volume.Slice{Header: in.headers[i], Pixels: func(ctx context.Context) ([]byte, error) { return in.pixels(ctx, i, d, name) }}
			continue
		}
		all := whole[in.of[i]]
		if all == nil {
			all = sync.OnceValues(func() ([]byte, error) { return in.pixels(ctx, i, d, name) })
			whole[in.of[i]] = all
		}
		slices[k] = volume.Slice{Header: in.headers[i], Pixels: func(context.Context) ([]byte, error) {
			raw, err := all()
			if err != nil {
				return nil, err
			}
			n := len(raw) / frames
			return raw[(frame-1)*n : frame*n], nil
		}}
	}
	in.replaced.Store(0)
	v, a, err := volume.Build(ctx, slices)
	if err != nil {
		return nil, nil, err
	}
	return v, a, nil
}

// pixels decodes one object. Pixel data that cannot be decoded gives a refusal.
func pixels(ctx context.Context, o Input, d Decoder, name string) ([]byte, error) {
	var raw []byte
	var syntax string
	compressed, none := false, false
	_, err := open(o, func(f *dcm.File) (err error) {
		none = f.Pixels == nil
		syntax, compressed = f.Meta.TransferSyntaxUID, f.Pixels != nil && f.Pixels.Encapsulated
		if d == nil {
			raw, err = f.PixelData()
		} else {
			raw, err = d.Pixels(ctx, f)
		}
		return err
	})
	if none && unreadable(err) {
		return nil, finding.Refuse(finding.Undecodable, "%s has no Pixel Data %s; Float Pixel Data is not read.\nSend the original series.", name, dcm.PixelData)
	}
	if unreadable(err) {
		remedy := "Send the series again."
		if compressed {
			remedy = "Send the series again, uncompressed."
		}
		return nil, finding.Refuse(finding.Undecodable, "%s has pixel data (transfer syntax %s) that cannot be decoded: %v.\n%s", name, dcm.UIDName(syntax), err, remedy)
	}
	return raw, err
}
