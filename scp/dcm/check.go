package dcm

import (
	"errors"
	"fmt"
	"io"
)

// Check checks the structure of a data set of size bytes in transferSyntax, as received over the network, and returns its
// identifiers; missing ones are empty. ErrTruncated: an element, a sequence or the pixel data extends beyond the end.
// ErrEncoding: an element extends beyond its item or sequence, or a sequence has no delimiter. If all identifiers are present,
// other errors are left for Read, because the object may never be read. Check does not read values, so it is fast. Errors as
// for Read.
func Check(r io.ReaderAt, size int64, transferSyntax string) (Identifiers, error) {
	syn, deflated, err := syntaxOf(transferSyntax)
	if err != nil {
		return Identifiers{}, err
	}
	lim := Limits{}.withDefaults()
	s := &scanner{lim: lim}
	s.w = &window{r: io.NewSectionReader(r, 0, size), size: size, max: lim.HeaderBytes}
	if deflated {
		s.w = inflated(io.NewSectionReader(r, 0, size), lim)
	}
	stream, _ := s.w.r.(*inflater)
	syn = s.sniff(syn)
	id, err := s.identify(syn)
	p := s.pixels
	switch {
	case err != nil && !errors.Is(err, ErrTruncated) && !errors.Is(err, errOverrun) && id.complete():
		return id, nil
	case err == nil && p == nil && stream != nil && stream.cut:
		return id, fmt.Errorf("deflated data set: %w", ErrTruncated)
	case err != nil || p == nil:
		return id, err
	case p.Encapsulated && !deflated:
		f := &File{src: r, size: size, lim: lim, Pixels: p}
		_, err = f.fragments()
		return id, err
	case p.Encapsulated: // not allowed by PS3.5 §A.5
		return id, fmt.Errorf("%s: encapsulated in a deflated data set: %w", PixelData, ErrEncoding)
	}
	s.w.total = lim.InflatedBytes // a header has less
	if end, err := s.check(PixelData, uint32(p.Length), open{limit: -1}); err != nil {
		return id, err
	} else if err := s.leave(PixelData, end); err != nil {
		return id, err
	}
	return id, s.trailing(syn)
}

// trailing checks the lengths of the elements after the pixel data, up to the first bytes that are not an element.
func (s *scanner) trailing(syn syntax) error {
	for last := PixelData; s.w.need(s.pos+12) == nil; {
		tag := readTag(s.w.at(s.pos), syn.order())
		if _, known := vrs[string(s.w.at(s.pos)[4:6])]; tag <= last || !syn.implicit && !known || syn.implicit && tag.VR() == "UN" {
			return nil
		}
		_, length, err := s.header(tag, open{syntax: syn, item: true, end: -1, limit: -1})
		if err != nil || length == undefined {
			return err
		}
		end, err := s.check(tag, length, open{limit: -1})
		if err == nil {
			err = s.leave(tag, end)
		}
		if err != nil {
			return err
		}
		last = tag
	}
	return nil
}

// identify scans for the identifiers only.
func (s *scanner) identify(syn syntax) (id Identifiers, err error) {
	fields := map[Tag]*string{StudyInstanceUID: &id.StudyInstanceUID, SeriesInstanceUID: &id.SeriesInstanceUID,
		SOPClassUID: &id.SOPClassUID, SOPInstanceUID: &id.SOPInstanceUID, Modality: &id.Modality}
	s.only = map[Tag]bool{}
	for tag := range fields {
		s.only[tag] = true
	}
	err = s.scan(syn)
	for _, sp := range s.spans {
		// Identifiers stay in memory, so they are cut; a cut one is too long to be accepted.
		raw := s.w.buf[sp.start : sp.start+min(sp.length, maxIdentifier)]
		if v := splitText(string(raw), "UI"); len(v) > 0 {
			*fields[sp.tag] = v[0]
		}
	}
	return id, err
}

// maxIdentifier is the number of bytes kept of an identifier. UIDs have at most 64 (PS3.5 §9.1).
const maxIdentifier = 66

func (id Identifiers) complete() bool {
	return id.StudyInstanceUID != "" && id.SeriesInstanceUID != "" && id.SOPClassUID != "" && id.SOPInstanceUID != ""
}
