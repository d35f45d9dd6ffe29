package dcm

import (
	"bufio"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
)

// maxDepth bounds the nesting of sequences, read and written.
const maxDepth = 32

// Limits limit the cost of reading one object. Zero values take the defaults given.
type Limits struct {
	HeaderBytes   int64 // everything before Pixel Data, without long values, which are not read; 32 MiB
	Elements      int   // elements, items and sequences together; 500,000
	Depth         int   // nesting of sequences; 32
	Values        int   // text values of all elements together; 1,000,000
	InflatedBytes int64 // output of Deflated Explicit VR Little Endian; 512 MiB
	PixelBytes    int64 // returned by PixelData; 1 GiB
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
	def(&l.HeaderBytes, 32<<20)
	def(&l.InflatedBytes, 512<<20)
	def(&l.PixelBytes, 1<<30)
	count(&l.Elements, 500_000)
	count(&l.Depth, maxDepth)
	count(&l.Values, 1_000_000)
	return l
}

// File is a Part 10 file with its header in memory. The pixel data is not read.
type File struct {
	Meta   FileMeta
	Data   *DataSet     // without Pixel Data and the elements after it; text is UTF-8 for any (0008,0005)
	Pixels *PixelSource // nil if there is no (7FE0,0010) at the top level

	// Assumed describes what is missing or wrong in the file and what was assumed; "" if nothing. It contains no patient data.
	Assumed string

	src       io.ReaderAt
	size      int64
	dataStart int64 // of the data set in the file
	lim       Limits
}

// Identifiers identify an object, its series and its study.
type Identifiers struct {
	StudyInstanceUID  string
	SeriesInstanceUID string
	SOPClassUID       string
	SOPInstanceUID    string
	Modality          string
}

// Read reads the header of a Part 10 file of size bytes (PS3.10 §7): everything before Pixel Data, or the whole file if it has
// none. Preamble, file meta information and Transfer Syntax UID may be missing: see Assumed. r must stay open for PixelData.
// Errors: ErrNotDICOM, ErrTransferSyntax, ErrTruncated, ErrLimit, ErrEncoding.
func Read(r io.ReaderAt, size int64, lim Limits) (*File, error) {
	lim = lim.withDefaults()
	f := &File{src: r, size: size, lim: lim}
	w := &window{r: io.NewSectionReader(r, 0, size), size: size, max: lim.HeaderBytes}
	bare, err := f.begin(w)
	if err != nil {
		return nil, err
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
		if bare && !s.identified() {
			err = ErrNotDICOM
		}
		return nil, err
	}
	if bare && !s.identified() {
		return nil, fmt.Errorf("no preamble with DICM at byte 128: %w", ErrNotDICOM)
	}
	if f.Pixels = s.pixels; f.Pixels != nil {
		f.Pixels.Deflated = deflated
		f.Pixels.bigEndian = syn.bigEndian
	}
	var chars *guess
	if f.Data, chars, err = build(s.w.buf, s.spans, lim); err != nil {
		return nil, err
	}
	f.assume(chars.said())
	return f, f.recognise()
}

// Identify returns the identifiers that lie before the damage in a file that Read cannot read.
func Identify(r io.ReaderAt, size int64, lim Limits) (id Identifiers) {
	lim = lim.withDefaults()
	f := &File{src: r, size: size, lim: lim}
	s := &scanner{w: &window{r: io.NewSectionReader(r, 0, size), size: size, max: lim.HeaderBytes}, lim: lim}
	if _, err := f.begin(s.w); err != nil {
		return id
	}
	syn, deflated, err := syntaxOf(f.Meta.TransferSyntaxUID)
	if err != nil {
		return id
	}
	if s.pos = f.dataStart; deflated {
		s.w, s.pos = inflated(f.Encoded(), lim), 0
	}
	_ = s.scan(s.sniff(syn)) // its error is known
	wanted := map[Tag]*string{StudyInstanceUID: &id.StudyInstanceUID, SeriesInstanceUID: &id.SeriesInstanceUID, SOPClassUID: &id.SOPClassUID,
		SOPInstanceUID: &id.SOPInstanceUID, Modality: &id.Modality}
	depth := 0
	for _, sp := range s.spans {
		switch sp.kind {
		case sequenceSpan, itemSpan:
			depth++
		case endSpan:
			depth--
		case valueSpan:
			if to := wanted[sp.tag]; to != nil && depth == 0 && sp.start+sp.length <= len(s.w.buf) {
				*to = strings.Trim(string(s.w.buf[sp.start:sp.start+sp.length]), " \x00")
			}
		}
	}
	return id
}

// begin reads the file meta information, if there is any, and sets f.dataStart to its end. bare: there is neither preamble nor
// meta information, so only the data set shows whether this is DICOM.
func (f *File) begin(w *window) (bare bool, err error) {
	var at int64
	switch {
	case w.need(132) == nil && string(w.buf[128:132]) == "DICM":
		at = 132
	case w.err != nil:
		return false, w.err
	case w.need(4) == nil && string(w.buf[:4]) == "DICM":
		at = 4
		f.assume("no preamble")
	default:
		bare = true
	}
	if w.need(at+12) != nil {
		return false, fmt.Errorf("%d bytes: %w", f.size, ErrNotDICOM)
	}
	switch first := readTag(w.at(at), binary.LittleEndian); {
	case first.Group() == 2:
		err := f.readMeta(w, at)
		if bare && err != nil {
			err = ErrNotDICOM
		}
		if err != nil {
			return false, fmt.Errorf("file meta information: %w", err)
		}
		if bare {
			f.assume("no preamble")
		}
		bare = bare && f.Meta.TransferSyntaxUID == ""
	case first.Group() == 8 || readTag(w.at(at), binary.BigEndian).Group() == 8:
		bare, f.dataStart = true, at
		f.assume("no file meta information")
	default:
		return false, fmt.Errorf("no preamble with DICM at byte 128, or nothing after it: %w", ErrNotDICOM)
	}
	if f.Meta.TransferSyntaxUID == "" {
		f.Meta.TransferSyntaxUID = likelySyntax(w, f.dataStart)
		f.assume("no Transfer Syntax UID, read as " + UIDName(f.Meta.TransferSyntaxUID))
	}
	return bare, nil
}

func (f *File) assume(what string) {
	if f.Assumed != "" && what != "" {
		f.Assumed += ", "
	}
	f.Assumed += what
}

// likelySyntax guesses a missing transfer syntax from the first element of the data set, at pos.
func likelySyntax(w *window, pos int64) string {
	if w.need(pos+8) != nil {
		return ImplicitVRLittleEndian // PS3.5 §10: the default
	}
	h := w.at(pos)
	switch _, explicit := vrs[string(h[4:6])]; {
	case explicit && readTag(h, binary.BigEndian).Group() < readTag(h, binary.LittleEndian).Group():
		return ExplicitVRBigEndian
	case explicit:
		return ExplicitVRLittleEndian
	}
	return ImplicitVRLittleEndian
}

// identified reports whether the scan has found an identifier; without meta information nothing else shows that this is DICOM.
func (s *scanner) identified() bool {
	return slices.ContainsFunc(s.spans, func(sp span) bool {
		return sp.kind == valueSpan && sp.length > 0 && (sp.tag == SOPClassUID || sp.tag == SOPInstanceUID || sp.tag == StudyInstanceUID)
	})
}

// Encoded reads the data set as stored in the file, without the meta information, as C-STORE sends it.
func (f *File) Encoded() *io.SectionReader {
	return io.NewSectionReader(f.src, f.dataStart, f.size-f.dataStart)
}

// inflater records whether its stream was cut off.
type inflater struct {
	io.Reader
	cut bool
}

func (z *inflater) Read(p []byte) (int, error) {
	n, err := z.Reader.Read(p)
	z.cut = z.cut || err == io.ErrUnexpectedEOF
	return n, err
}

func inflated(r io.Reader, lim Limits) *window {
	return &window{r: &inflater{Reader: inflate(r)}, size: -1, max: min(lim.HeaderBytes, lim.InflatedBytes), total: min(64<<20, lim.InflatedBytes)}
}

// inflate decompresses a deflated data set (PS3.5 §A.5). Some peers put the header of zlib (RFC 1950) before the stream, which
// the standard has not. A stream without it that begins with the same bits has a length and its complement next (RFC 1951 §3.2.4).
func inflate(r io.Reader) io.ReadCloser {
	in := bufio.NewReader(r)
	if b, err := in.Peek(5); err == nil && b[0]&0x8F == 8 && binary.BigEndian.Uint16(b)%31 == 0 &&
		binary.LittleEndian.Uint16(b[1:])^binary.LittleEndian.Uint16(b[3:]) != 0xFFFF {
		in.Discard(2)
	}
	return flate.NewReader(in)
}

// readMeta reads group 2 at position at and sets f.dataStart to its end. Some files have a wrong group length, so it is used
// only if the elements of group 2 end there.
func (f *File) readMeta(w *window, at int64) error {
	scan := func(end int64) (*scanner, error) {
		s := &scanner{w: w, pos: at, lim: f.lim, group: 2, trying: 1} // it may be scanned twice
		if end > 0 {
			part := *w
			part.size = end
			s.w = &part
		}
		err := s.scan(syntax{})
		w.buf, w.r, w.err = s.w.buf, s.w.r, s.w.err
		return s, err
	}
	var end int64
	if h := w.at(at); string(h[:8]) == "\x02\x00\x00\x00UL\x04\x00" {
		end = at + 12 + int64(binary.LittleEndian.Uint32(h[8:]))
	}
	var s *scanner
	err := ErrEncoding
	if end > at+12 && end <= f.size && end <= w.max {
		s, err = scan(end)
	}
	if err != nil || s.passed || w.need(end+8) == nil && w.buf[end] == 2 && w.buf[end+1] == 0 && isVR(w.buf[end+4:]) {
		if s, err = scan(0); err != nil {
			return err
		}
	}
	meta, _, err := build(w.buf, s.spans, f.lim)
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
	return nil
}

// syntaxOf returns the encoding of a data set in transfer syntax uid (PS3.5 §10, §A). With compressed pixel data, it is Explicit
// VR Little Endian.
func syntaxOf(uid string) (s syntax, deflated bool, err error) {
	switch uid {
	case ImplicitVRLittleEndian:
		return syntax{implicit: true}, false, nil
	case ExplicitVRLittleEndian, RLELossless, "1.2.840.10008.1.2.1.98", "1.2.840.10008.1.2.8.1": // Encapsulated Uncompressed, Deflated Image Frame
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

// Readable reports whether data sets of a transfer syntax can be read, even if their pixels cannot be decoded.
func Readable(transferSyntax string) bool {
	_, _, err := syntaxOf(transferSyntax)
	return err == nil
}

// sniff corrects implicit to explicit or the reverse, according to the first element. Such files exist, and a valid first
// element is never ambiguous.
func (s *scanner) sniff(syn syntax) syntax {
	if syn.bigEndian || s.w.need(s.pos+8) != nil {
		return syn
	}
	h := s.w.at(s.pos)
	if _, known := vrs[string(h[4:6])]; known {
		syn.implicit = false
	} else if !syn.implicit && !isVR(h[4:6]) {
		syn.implicit = !s.guess(readTag(h, binary.LittleEndian), open{item: true, end: -1, limit: -1}).vr
	}
	return syn
}
