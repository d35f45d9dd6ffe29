package pipeline

import (
	"context"
	"errors"
	"io"

	"ichor/pipeline/finding"
	"ichor/pipeline/nifti"
)

// readNIfTI reads the file of a study as images with the headers that a CT series of the same slices would have, so that the
// series is judged, measured and refused by the same rules.
func readNIfTI(ctx context.Context, study Study, most int, r *running) (*images, error) {
	scan, err := openScan(ctx, study.NIfTI, most)
	switch name := nameOf(study.NIfTI, 0); {
	case errors.Is(err, nifti.ErrTooLarge):
		return nil, finding.Refuse(finding.TooLarge, "The %s has %v.\nUse a thicker reconstruction.", name, err)
	case errors.Is(err, nifti.ErrGeometry):
		return nil, finding.Refuse(finding.MissingPosition, "The %s cannot be read: %v.\nConvert the study again.", name, err)
	case nifti.Defective(err):
		return nil, finding.Refuse(finding.Undecodable, "The %s cannot be read: %v.\nConvert the study again.", name, err)
	case err != nil:
		return nil, err
	}
	r.Finding.Study.SHA256 = scan.SHA256
	if err := scan.CheckGeometry(); err != nil {
		return nil, err
	}
	switch {
	case scan.Form == nifti.NoForm:
		r.Finding.Warnings = append(r.Finding.Warnings, "The file has neither sform nor qform: its first axis was assumed to run from right to left, its second to the front "+
			"and its third to the head. Left and right may be exchanged.")
	case scan.Passed != "":
		r.Finding.Warnings = append(r.Finding.Warnings, "The sform of the file has "+scan.Passed+"; the qform was used.")
	case scan.Differ:
		r.Finding.Warnings = append(r.Finding.Warnings, "The sform and the qform of the file place the head differently; the sform was used.")
	}
	in := &images{headers: scan.Headers()}
	for k := range in.headers {
		in.decode = append(in.decode, func(context.Context) ([]byte, error) { return scan.Pixels(k), nil })
	}
	r.Header, r.Scan = in.headers[0], scan
	return in, nil
}

// openScan reads the file, and hashes it.
func openScan(ctx context.Context, o Input, most int) (_ *nifti.Scan, err error) {
	in, err := o.Open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	return nifti.ReadScan(stoppable{ctx, io.NewSectionReader(in, 0, in.Size())}, most)
}

// stoppable is a reader that ends with its context.
type stoppable struct {
	ctx context.Context
	r   io.Reader
}

func (s stoppable) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.r.Read(p)
}
