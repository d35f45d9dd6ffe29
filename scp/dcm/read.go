package dcm

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxDepth bounds the nesting of sequences, read and written.
const maxDepth = 32

// Limits bound what reading one object may cost. A zero field stands for its default.
type Limits struct {
	HeaderBytes   int64 // everything before Pixel Data; 8 MiB
	Elements      int   // elements, items and sequences together; 500,000
	Depth         int   // nesting of sequences; 32
	Values        int   // text values of all elements together; 1,000,000
	InflatedBytes int64 // output of Deflated Explicit VR Little Endian; 512 MiB
	PixelBytes    int64 // what PixelData may return; 1 GiB
}

func (l Limits) withDefaults() Limits {
	def := func(v *int64, d int64) {
		if *v <= 0 {
			*v = d
		}
	}
	count := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&l.HeaderBytes, 8<<20)
	def(&l.InflatedBytes, 512<<20)
	def(&l.PixelBytes, 1<<30)
	count(&l.Elements, 500_000)
	count(&l.Depth, maxDepth)
	count(&l.Values, 1_000_000)
	return l
}

// File is a Part 10 file whose header is in memory and whose pixel data is not.
type File struct {
	Meta   FileMeta
	Data   *DataSet     // without Pixel Data and what follows it; text is UTF-8, whatever (0008,0005) says
	Pixels *PixelSource // nil where the object has no (7FE0,0010) at the top

	src       io.ReaderAt
	size      int64
	dataStart int64 // of the data set in the file
	lim       Limits
}

// Identifiers say which object this is and where it belongs.
type Identifiers struct {
	StudyInstanceUID  string
	SeriesInstanceUID string
	SOPClassUID       string
	SOPInstanceUID    string
	Modality          string
}

// Read reads the header of a Part 10 file of size bytes (PS3.10 §7): everything before Pixel Data, or all of it where
// there is none. r must stay open for PixelData. Errors: ErrNotDICOM, ErrTransferSyntax, ErrTruncated, ErrLimit,
// ErrEncoding.
func Read(r io.ReaderAt, size int64, lim Limits) (f *File, err error) {
	lim = lim.withDefaults()
	w := &window{r: io.NewSectionReader(r, 0, size), size: size, max: lim.HeaderBytes}
	if err := w.need(132); err != nil || string(w.buf[128:132]) != "DICM" {
		if w.err != nil {
			return nil, w.err
		}
		return nil, fmt.Errorf("no preamble with DICM at byte 128: %w", ErrNotDICOM)
	}
	f = &File{src: r, size: size, lim: lim}
	if err := f.readMeta(w); err != nil {
		return nil, fmt.Errorf("file meta information: %w", err)
	}
	syn, deflated, err := syntaxOf(f.Meta.TransferSyntaxUID)
	if err != nil {
		return nil, err
	}
	s := &scanner{w: w, pos: f.dataStart, lim: lim, spans: make([]span, 0, 128)} // elements of most CT headers
	if deflated {
		s.w, s.pos = inflated(f.Encoded(), lim), 0
	}
	if err := s.scan(s.sniff(syn)); err != nil {
		return nil, err
	}
	if f.Pixels = s.pixels; f.Pixels != nil {
		f.Pixels.Deflated = deflated
		f.Pixels.bigEndian = syn.bigEndian
	}
	f.Data, err = build(s.w.buf, s.spans, lim)
	return f, err
}

// Encoded reads the data set as it lies in the file, behind the meta information: what C-STORE sends.
func (f *File) Encoded() *io.SectionReader {
	return io.NewSectionReader(f.src, f.dataStart, f.size-f.dataStart)
}

func inflated(r io.Reader, lim Limits) *window {
	return &window{r: flate.NewReader(r), size: -1, max: min(lim.HeaderBytes, lim.InflatedBytes)}
}

// readMeta reads group 2 and leaves f.dataStart behind it. The group length is believed where elements of group 2
// end there; some files have it wrong.
func (f *File) readMeta(w *window) error {
	scan := func(end int64) (*scanner, error) {
		s := &scanner{w: w, pos: 132, lim: f.lim, group: 2}
		if end > 0 {
			part := *w
			part.size = end
			s.w = &part
		}
		err := s.scan(syntax{})
		w.buf, w.r, w.err = s.w.buf, s.w.r, s.w.err
		return s, err
	}
	if err := w.need(144); err != nil {
		return fmt.Errorf("%w: %w", ErrNotDICOM, err)
	}
	var end int64
	if string(w.buf[132:140]) == "\x02\x00\x00\x00UL\x04\x00" {
		end = 144 + int64(binary.LittleEndian.Uint32(w.buf[140:]))
	}
	var s *scanner
	err := ErrEncoding
	if end > 144 && end <= f.size && end <= w.max {
		s, err = scan(end)
	}
	if err != nil || s.passed || w.need(end+8) == nil && w.buf[end] == 2 && w.buf[end+1] == 0 && isVR(w.buf[end+4:]) {
		if s, err = scan(0); err != nil {
			return err
		}
	}
	meta, err := build(w.buf, s.spans, f.lim)
	if err != nil {
		return err
	}
	f.dataStart = s.pos
	f.Meta = FileMeta{
		SOPClassUID:               meta.String(MediaStorageSOPClassUID),
		SOPInstanceUID:            meta.String(MediaStorageSOPInstanceUID),
		TransferSyntaxUID:         meta.String(TransferSyntaxUID),
		ImplementationClassUID:    meta.String(metaImplementationClassUID),
		ImplementationVersionName: meta.String(metaImplementationVersionName),
		SourceAETitle:             meta.String(SourceApplicationEntityTitle),
	}
	if len(meta.elements) == 0 {
		return fmt.Errorf("no group 2 behind DICM: %w", ErrNotDICOM)
	}
	return nil
}

// syntaxOf tells how a data set in transfer syntax uid is encoded (PS3.5 §10, §A). All that compress pixel data are
// Explicit VR Little Endian around it.
func syntaxOf(uid string) (s syntax, deflated bool, err error) {
	switch uid {
	case ImplicitVRLittleEndian:
		return syntax{implicit: true}, false, nil
	case ExplicitVRLittleEndian, RLELossless:
		return syntax{}, false, nil
	case DeflatedExplicitVRLittleEndian:
		return syntax{}, true, nil
	case ExplicitVRBigEndian:
		return syntax{bigEndian: true}, false, nil
	}
	const jpegFamily = "1.2.840.10008.1.2.4."
	if strings.HasPrefix(uid, jpegFamily) && uid != jpegFamily+"95" && uid != jpegFamily+"205" { // those are deflated
		return syntax{}, false, nil
	}
	return syntax{}, false, fmt.Errorf("transfer syntax %q: %w", UIDName(uid), ErrTransferSyntax)
}

// sniff corrects implicit to explicit and the other way round where the first element says so: such files exist, and
// no sane first element makes the two ambiguous.
func (s *scanner) sniff(syn syntax) syntax {
	if syn.bigEndian || s.w.need(s.pos+8) != nil {
		return syn
	}
	if h := s.w.buf[s.pos:]; syn.implicit && isVR(h[4:6]) && VR(h[4:6]).known() {
		syn.implicit = false
	} else if !syn.implicit && !isVR(h[4:6]) {
		syn.implicit = true
	}
	return syn
}

// Identify reads the identifiers from the first bytes of a data set in transferSyntax, as it comes over the network
// without file meta information. ErrTruncated: head ends before they could all be seen; what was found is returned.
func Identify(head []byte, transferSyntax string) (Identifiers, error) {
	id, seen, err := identify(head, transferSyntax)
	if err == nil && !seen {
		err = fmt.Errorf("identifiers in the first %d bytes: %w", len(head), ErrTruncated)
	}
	return id, err
}

// IdentifyWhole is Identify for a head known to be the whole data set: an absent attribute is empty, not an error.
func IdentifyWhole(data []byte, transferSyntax string) (Identifiers, error) {
	id, _, err := identify(data, transferSyntax)
	return id, err
}

func identify(head []byte, transferSyntax string) (id Identifiers, seen bool, err error) {
	syn, deflated, err := syntaxOf(transferSyntax)
	if err != nil {
		return id, false, err
	}
	lim := Limits{}.withDefaults()
	fields := map[Tag]*string{StudyInstanceUID: &id.StudyInstanceUID, SeriesInstanceUID: &id.SeriesInstanceUID,
		SOPClassUID: &id.SOPClassUID, SOPInstanceUID: &id.SOPInstanceUID, Modality: &id.Modality}
	s := &scanner{lim: lim, until: SeriesInstanceUID, only: map[Tag]bool{}}
	for tag := range fields {
		s.only[tag] = true
	}
	if deflated {
		s.w = inflated(bytes.NewReader(head), lim)
	} else {
		s.w = &window{buf: head, size: int64(len(head)), max: lim.HeaderBytes}
	}
	err = s.scan(s.sniff(syn))
	for _, sp := range s.spans {
		// Identifiers are kept for as long as the object is: longer than any UID is enough to be refused.
		raw := s.w.buf[sp.start : sp.start+min(sp.length, maxIdentifier)]
		if v := splitText(string(raw), "UI"); len(v) > 0 {
			*fields[sp.tag] = v[0]
		}
	}
	if errors.Is(err, ErrTruncated) && id.complete() {
		return id, true, nil
	}
	return id, s.passed, err
}

// maxIdentifier is how much is kept of an identifier; UIDs have at most 64 bytes (PS3.5 §9.1).
const maxIdentifier = 66

func (id Identifiers) complete() bool {
	return id.StudyInstanceUID != "" && id.SeriesInstanceUID != "" && id.SOPClassUID != "" && id.SOPInstanceUID != "" &&
		id.Modality != ""
}
