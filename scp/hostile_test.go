package scp

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"io"
	"io/fs"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/spool"
	"ichor/scp/ul"
)

// short is an element of Explicit VR Little Endian with a length of two bytes.
func short(tag dcm.Tag, vr, value string) []byte {
	b := binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, tag.Group()), tag.Element())
	b = append(b, vr...)
	return append(binary.LittleEndian.AppendUint16(b, uint16(len(value))), value...)
}

// long is the head of an element with a length of four bytes.
func long(tag dcm.Tag, vr string, length uint32) []byte {
	b := binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, tag.Group()), tag.Element())
	return binary.LittleEndian.AppendUint32(append(append(b, vr...), 0, 0), length)
}

func inflated(t *testing.T, data ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range data {
		if _, err := w.Write(d); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestHostileObjects: what others crashed on, sent as C-STORE over one association. Each is stored byte for byte or refused
// with a status, the association and the memory stay as they are, no path comes of it, and no word of it reaches the log.
func TestHostileObjects(t *testing.T) {
	const uid, html, escape = "1.2.3.4", `<script>alert("mark")</script>`, "mark\x1b[31m\r\nlevel=ERROR"
	o := Options{AnyPeer: true}
	dir := t.TempDir()
	a := serve(t, o, spool.Options{Dir: filepath.Join(dir, "spool")})
	// The elements of an object in order, with others in place of some.
	object := func(others ...[]byte) []byte {
		elements := [][]byte{
			short(dcm.SpecificCharacterSet, "CS", "ISO_IR 100"), short(dcm.SOPClassUID, "UI", dcm.CTImageStorage+"\x00"), short(dcm.SOPInstanceUID, "UI", uid+"\x00"),
			short(dcm.Modality, "CS", "CT"), short(dcm.PatientName, "PN", "mark^"), short(dcm.StudyInstanceUID, "UI", "1.2.3\x00"), short(dcm.SeriesInstanceUID, "UI", "1.2.4\x00"),
		}
		for i, e := range elements {
			for _, other := range others {
				if bytes.Equal(other[:4], e[:4]) {
					elements[i] = other
				}
			}
		}
		return bytes.Join(elements, nil)
	}
	even := func(s string) string { return s + strings.Repeat(" ", len(s)%2) }
	pixels := append(long(dcm.PixelData, "OW", 4), 1, 2, 3, 4)
	sequence, item := long(dcm.ContentSequence, "SQ", 0xFFFFFFFF), []byte{0xFE, 0xFF, 0x00, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF}
	first := append(long(dcm.Tag(0x00080001), "UT", 0xFFFFFFFE), object()...) // before what identifies the object
	const explicit, deflated = dcm.ExplicitVRLittleEndian, dcm.DeflatedExplicitVRLittleEndian
	for _, c := range []struct {
		name, syntax string
		data         []byte
		want         dimse.Status
	}{
		{"HTML in the name", explicit, append(object(short(dcm.PatientName, "PN", even(html))), pixels...), dimse.StatusSuccess},
		{"control characters in the name", explicit, append(object(short(dcm.PatientName, "PN", even(escape))), pixels...), dimse.StatusSuccess},
		{"HTML in the modality", explicit, append(object(short(dcm.Modality, "CS", even(html))), pixels...), dimse.StatusSuccess},
		{"character set that nobody knows", explicit, append(object(short(dcm.SpecificCharacterSet, "CS", even("ISO_IR 999\\mark"))), pixels...), dimse.StatusSuccess},
		{"code extensions cut off", explicit, append(object(short(dcm.SpecificCharacterSet, "CS", even(`\ISO 2022 IR 87`)), short(dcm.PatientName, "PN", "mark^\x1b$")), pixels...), dimse.StatusSuccess},
		{"pixel data longer than there is", explicit, append(object(), long(dcm.PixelData, "OW", 0xFFFFFFFE)...), dimse.CannotUnderstand},
		{"pixel data cut off", explicit, append(object(), pixels[:len(pixels)-1]...), dimse.CannotUnderstand},
		{"deflate bomb in the pixels", deflated, inflated(t, object(), long(dcm.PixelData, "OW", 150<<20), make([]byte, 150<<20)), dimse.StatusSuccess},
		{"study UID with slashes", explicit, append(object(short(dcm.StudyInstanceUID, "UI", "../../../mark!")), pixels...), dimse.DataSetMismatch},
		{"series UID with slashes", explicit, append(object(short(dcm.SeriesInstanceUID, "UI", "/etc/mark\x00")), pixels...), dimse.DataSetMismatch},
		{"study UID of 200 characters", explicit, append(object(short(dcm.StudyInstanceUID, "UI", strings.Repeat("1.", 100))), pixels...), dimse.DataSetMismatch},
		{"length FFFFFFFE before all", explicit, first, dimse.CannotUnderstand},
		{"sequences nested 100,000", explicit, append(bytes.Repeat(append(bytes.Clone(sequence[:0]), append(long(dcm.Tag(0x00080001), "SQ", 0xFFFFFFFF), item...)...), 100_000), object()...), dimse.CannotUnderstand},
		{"elements without end", explicit, bytes.Repeat(short(dcm.Tag(0x00080001), "LO", ""), 1_200_000), dimse.CannotUnderstand},
		{"modalities without end", explicit, append(bytes.Repeat(short(dcm.Modality, "CS", "MR"), 400_000), object()...), dimse.StatusSuccess},
		{"deflate bomb before all", deflated, inflated(t, long(dcm.Tag(0x00080001), "OB", 150<<20), make([]byte, 150<<20), object()), dimse.CannotUnderstand},
		{"a deflate stream that is none", deflated, bytes.Repeat([]byte("mark"), 1000), dimse.CannotUnderstand},
		{"a program", explicit, append([]byte("MZ\x90\x00mark"), make([]byte, 1000)...), dimse.CannotUnderstand},
	} {
		t.Run(c.name, func(t *testing.T) {
			to := options(a)
			to.CallingAE = "<b>mark"
			to.Contexts = []ul.ProposedContext{{AbstractSyntax: dcm.CTImageStorage, TransferSyntaxes: []string{c.syntax}}}
			s := connect(t, to)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			stored := len(a.spool.Study("1.2.3"))
			st, err := s.Store(context.Background(), request(uid, c.data, c.syntax))
			if st != c.want && !(c.want.Failure() && (st == dimse.DataSetMismatch || st == dimse.CannotUnderstand)) {
				t.Fatalf("%s, %v, want %s", st, err, c.want)
			}
			runtime.ReadMemStats(&after)
			if spent := after.TotalAlloc - before.TotalAlloc; spent > 100<<20 {
				t.Errorf("%d MiB allocated", spent>>20)
			}
			objects := a.spool.Study("1.2.3")
			if st.Success() != (len(objects) == stored+1) {
				t.Fatalf("%d objects, %d before", len(objects), stored)
			}
			if st.Success() {
				r, err := a.spool.Read(objects[stored])
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
				file, err := io.ReadAll(r)
				if err != nil || !bytes.HasSuffix(file, c.data) || !bytes.Equal(file[:132], append(make([]byte, 128), "DICM"...)) {
					t.Errorf("kept %d bytes of %d, preamble %q: %v", len(file), len(c.data), file[:16], err)
				}
			}
			if err := s.Release(context.Background()); err != nil {
				t.Errorf("the association did not survive: %v", err)
			}
		})
	}
	a.stop()
	// The calling AE title is told by the log, in quotes and as it is.
	for line := range strings.Lines(a.log.String()) {
		if rest := strings.ReplaceAll(line, "<b>mark", ""); strings.Contains(rest, "mark") || strings.Contains(rest, "1.2.3") || strings.ContainsAny(strings.TrimSuffix(rest, "\n"), "\x1b\r\n") {
			t.Errorf("log: %q", line)
		}
	}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if strings.Contains(path, "mark") {
			t.Errorf("a path of what a peer sent: %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
