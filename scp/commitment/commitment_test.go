package commitment

import (
	"errors"
	"reflect"
	"testing"

	"ichor/scp/dcm"
)

func TestRoundTrip(t *testing.T) {
	refs := []Reference{{dcm.CTImageStorage, "1.2.3"}, {dcm.SegmentationStorage, "1.2.4"}}
	for _, ts := range []string{dcm.ImplicitVRLittleEndian, dcm.ExplicitVRLittleEndian} {
		q := Request{"1.2.9", refs}
		data, err := q.Encode(ts)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := DecodeRequest(data, ts); err != nil || !reflect.DeepEqual(got, q) {
			t.Errorf("%+v, error %v", got, err)
		}
		for _, r := range []Result{
			{"1.2.9", refs, nil},
			{"1.2.9", refs[:1], []Failure{{refs[1], ResourceLimitation}}},
			{"1.2.9", nil, []Failure{{refs[0], NoSuchObject}, {refs[1], 0}}},
		} {
			data, err := r.Encode(ts)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := DecodeResult(data, ts); err != nil || !reflect.DeepEqual(got, r) {
				t.Errorf("%+v, error %v", got, err)
			}
			if all := r.EventType() == EventComplete; all != (len(r.Failed) == 0) {
				t.Errorf("event type %d of %+v", r.EventType(), r)
			}
		}
	}
	if _, err := (Request{"1.2.9", refs}).Encode(dcm.JPEGLossless); err == nil {
		t.Error("encoded as JPEG")
	}
}

func FuzzDecode(f *testing.F) {
	for _, ts := range []string{dcm.ImplicitVRLittleEndian, dcm.ExplicitVRLittleEndian} {
		data, err := Result{"1.2.9", []Reference{{dcm.CTImageStorage, "1.2.3"}}, []Failure{{Reference{dcm.CTImageStorage, "1.2.4"}, NoSuchObject}}}.Encode(ts)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, ts == dcm.ImplicitVRLittleEndian)
	}
	f.Fuzz(func(t *testing.T, data []byte, implicit bool) {
		ts := dcm.ExplicitVRLittleEndian
		if implicit {
			ts = dcm.ImplicitVRLittleEndian
		}
		if r, err := DecodeResult(data, ts); err != nil && !errors.Is(err, ErrInvalid) || err == nil && r.TransactionUID == "" {
			t.Errorf("%+v, error %v", r, err)
		}
		if r, err := DecodeRequest(data, ts); err != nil && !errors.Is(err, ErrInvalid) || err == nil && (r.TransactionUID == "" || len(r.References) == 0) {
			t.Errorf("%+v, error %v", r, err)
		}
	})
}
