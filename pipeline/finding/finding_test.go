package finding

import (
	"encoding/json"
	"reflect"
	"testing"
)

// TestJSON holds that a finding survives the state file and the HTTP interface.
func TestJSON(t *testing.T) {
	f := Finding{
		Status: Analyzed, Disclaimer: Disclaimer, Study: Study{StudyInstanceUID: "1.2"}, Series: &Series{"1.2.3", 4, 32, [3]float64{0.5, 0.5, 5}, -18.5},
		Bundle: Bundle{"n", "v", "d", "c"}, Volumes: &Volumes{Total: 15, IPH: 1, IVH: 2, SAH: 3, SDH: 4, EDH: 5}, CavityML: 1500,
		TimingMS: map[string]int64{"bleed": 7}, Warnings: []string{"w"},
	}
	for _, s := range Subtypes {
		f.Lesions = append(f.Lesions, Lesion{Subtype: s, VolumeML: float64(s), Slices: [2]int{1, 2}, CentroidMM: [3]float64{1, 2, 3}, MaxDiameterMM: 9})
	}
	raw, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	var back Finding
	if err := json.Unmarshal(raw, &back); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(f, back) {
		t.Errorf("wrote %+v\nread  %+v", f, back)
	}
	if err := json.Unmarshal([]byte(`{"lesions":[{"subtype":"XYZ"}]}`), &back); err == nil {
		t.Error("an unknown subtype was read")
	}
}

// A zero would say that a subtype was looked for and not found.
func TestVolumesWithoutSubtypes(t *testing.T) {
	for want, v := range map[string]Volumes{
		`{"total":3,"ICH":3}`: {Total: 3, ICH: 3, Untold: true},
		`{"total":0,"ICH":0}`: {Untold: true}, // nothing was found, and still no subtype looked for
	} {
		raw, err := json.Marshal(v)
		if err != nil || string(raw) != want {
			t.Errorf("%s, %v", raw, err)
		}
		back := Volumes{IPH: 7}
		if err := json.Unmarshal(raw, &back); err != nil || back.Shown()[0] != ICH || back.Total != v.Total || back.ICH != v.ICH {
			t.Errorf("read %+v, %v", back, err)
		}
		if got := v.Shown(); len(got) != 1 || got[0] != ICH {
			t.Errorf("shown: %v", got)
		}
	}
	var told Volumes
	if err := json.Unmarshal([]byte(`{"total":2,"IPH":2,"IVH":0,"SAH":0,"SDH":0,"EDH":0}`), &told); err != nil || told != (Volumes{Total: 2, IPH: 2}) {
		t.Errorf("read %+v, %v", told, err)
	}
	if got := (Volumes{Total: 1, EDH: 1}).Shown(); len(got) != len(Subtypes) {
		t.Errorf("shown: %v", got)
	}
}

func TestVolumesOf(t *testing.T) {
	var v Volumes
	for i, s := range append([]Subtype{None}, Kinds[:]...) {
		v.Set(s, float64(i+1))
	}
	if want := (Volumes{Total: 1, IPH: 2, IVH: 3, SAH: 4, SDH: 5, EDH: 6, ICH: 7}); v != want {
		t.Errorf("%+v", v)
	}
	for i, s := range append([]Subtype{None}, Kinds[:]...) {
		if v.Of(s) != float64(i+1) {
			t.Errorf("%v: %g", s, v.Of(s))
		}
	}
}
