package dcm

import (
	"bytes"
	"errors"
	"testing"
)

// TestHeaderFillsLimit reads an object that is all header under a limit of exactly its size, and of one byte less.
func TestHeaderFillsLimit(t *testing.T) {
	d := &DataSet{}
	d.SetStrings(SOPClassUID, "UI", Comprehensive3DSRStorage)
	d.SetStrings(SOPInstanceUID, "UI", "1.2.3")
	var b bytes.Buffer
	if err := WriteFile(&b, FileMeta{}, d); err != nil {
		t.Fatal(err)
	}
	size := int64(b.Len())
	if _, err := Read(bytes.NewReader(b.Bytes()), size, Limits{HeaderBytes: size}); err != nil {
		t.Errorf("a header of %d bytes under that limit: %v", size, err)
	}
	if _, err := Read(bytes.NewReader(b.Bytes()), size, Limits{HeaderBytes: size - 1}); !errors.Is(err, ErrLimit) {
		t.Errorf("a header of one byte more than the limit: %v", err)
	}
}
