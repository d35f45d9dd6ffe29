package codec

import (
	"bytes"
	"encoding/binary"
	"testing"

	"ichor/scp/dcm"
)

// wrap is the picture as a Part 10 file whose pixel data holds these fragments behind a basic offset table.
func (p *picture) wrap(t testing.TB, syntax string, table []uint32, fragments ...[]byte) []byte {
	t.Helper()
	d := p.dataSet()
	d.Delete(dcm.PixelData)
	var b bytes.Buffer
	if err := dcm.WriteMeta(&b, dcm.FileMeta{SOPClassUID: d.String(dcm.SOPClassUID), SOPInstanceUID: "2.25.1", TransferSyntaxUID: syntax}); err != nil {
		t.Fatal(err)
	}
	if err := dcm.WriteDataSet(&b, d, dcm.ExplicitVRLittleEndian); err != nil {
		t.Fatal(err)
	}
	out := append(b.Bytes(), 0xE0, 0x7F, 0x10, 0, 'O', 'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF)
	item := func(element byte, value []byte) {
		out = append(out, 0xFE, 0xFF, element, 0xE0)
		out = append(binary.LittleEndian.AppendUint32(out, uint32(len(value)+len(value)%2)), value...)
		out = append(out, make([]byte, len(value)%2)...)
	}
	var offsets []byte
	for _, o := range table {
		offsets = binary.LittleEndian.AppendUint32(offsets, o)
	}
	item(0, offsets)
	for _, f := range fragments {
		item(0, f)
	}
	item(0xDD, nil)
	return out
}
