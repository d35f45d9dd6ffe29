package synthetic

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"ichor/scp/dcm"
)

// WriteOptions are choices for the files of a study; a zero field stands for its default.
type WriteOptions struct {
	StudyInstanceUID string                          // fresh
	Time             time.Time                       // of the study; now
	Edit             func(slice int, d *dcm.DataSet) // last change to each file, for tests
}

// Truth is what truth.json holds, which is written beside the files.
type Truth struct {
	Info
	StudyInstanceUID  string `json:"study_instance_uid"`
	SeriesInstanceUID string `json:"series_instance_uid,omitempty"` // of the series that is to be read
}

// Write writes one CT file a slice (CT0001.dcm, ...) and truth.json to dir, which it makes if it is missing. All UIDs
// are fresh.
func (s *Study) Write(dir string, o WriteOptions) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	files, truth := s.DataSets(o)
	for k, d := range files {
		if err := WriteFile(filepath.Join(dir, fmt.Sprintf("CT%04d.dcm", k+1)), d); err != nil {
			return err
		}
	}
	return WriteTruth(dir, truth)
}

// WriteFile writes one object as a file of PS3.10 to path.
func WriteFile(path string, d *dcm.DataSet) error {
	return create(path, func(w io.Writer) error { return dcm.WriteFile(w, dcm.FileMeta{}, d) })
}

// WriteTruth writes truth as dir/truth.json.
func WriteTruth(dir string, truth any) error {
	return create(filepath.Join(dir, "truth.json"), func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(truth)
	})
}

func create(path string, write func(io.Writer) error) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return write(f)
}

// DataSets makes the CT objects of the study (CT Image IOD, PS3.3 §A.3), feet to head, as a scanner would send them.
func (s *Study) DataSets(o WriteOptions) ([]*dcm.DataSet, Truth) {
	if o.StudyInstanceUID == "" {
		o.StudyInstanceUID = dcm.RandomUID()
	}
	if o.Time.IsZero() {
		o.Time = time.Now()
	}
	truth := Truth{Info: s.Info, StudyInstanceUID: o.StudyInstanceUID, SeriesInstanceUID: dcm.RandomUID()}
	frame := dcm.RandomUID()
	accession := "S" + truth.StudyInstanceUID[max(0, len(truth.StudyInstanceUID)-12):]
	out := make([]*dcm.DataSet, len(s.PositionsMM))
	for k := range out {
		d := &dcm.DataSet{}
		s.patient(d, o.Time)
		s.study(d, truth, accession, o.Time)
		s.series(d, frame, o.Time)
		s.image(d, k)
		d.SetStrings(dcm.SOPClassUID, "UI", dcm.CTImageStorage)
		d.SetStrings(dcm.SOPInstanceUID, "UI", dcm.RandomUID())
		if o.Edit != nil {
			o.Edit(k, d)
		}
		out[k] = d
	}
	return out, truth
}

func (s *Study) patient(d *dcm.DataSet, now time.Time) {
	name := strings.ToUpper(s.Name)
	d.SetStrings(dcm.PatientName, "PN", "ICHOR^SAMPLE^"+name)
	d.SetStrings(dcm.PatientID, "LO", "ICHOR-SAMPLE-"+name)
	d.SetStrings(dcm.PatientBirthDate, "DA", fmt.Sprintf("%04d0101", now.Year()-s.AgeYears))
	d.SetStrings(dcm.PatientSex, "CS", s.Sex)
	d.SetStrings(dcm.PatientAge, "AS", fmt.Sprintf("%03dY", s.AgeYears))
}

func (s *Study) study(d *dcm.DataSet, t Truth, accession string, now time.Time) {
	d.SetStrings(dcm.StudyInstanceUID, "UI", t.StudyInstanceUID)
	d.SetStrings(dcm.SeriesInstanceUID, "UI", t.SeriesInstanceUID)
	for _, tag := range []dcm.Tag{dcm.StudyDate, dcm.SeriesDate, dcm.AcquisitionDate, dcm.ContentDate} {
		d.SetStrings(tag, "DA", now.Format("20060102"))
	}
	for _, tag := range []dcm.Tag{dcm.StudyTime, dcm.SeriesTime, dcm.AcquisitionTime, dcm.ContentTime} {
		d.SetStrings(tag, "TM", now.Format("150405"))
	}
	d.SetStrings(dcm.AccessionNumber, "SH", accession)
	d.SetStrings(dcm.ReferringPhysicianName, "PN")
	d.SetStrings(dcm.StudyID, "SH", "1")
	d.SetStrings(dcm.StudyDescription, "LO", "CT HEAD (SYNTHETIC)")
}

func (s *Study) series(d *dcm.DataSet, frame string, now time.Time) {
	d.SetStrings(dcm.Modality, "CS", "CT")
	d.SetStrings(dcm.SeriesNumber, "IS", "2")
	d.SetStrings(dcm.SeriesDescription, "LO", "Head axial 5.0 synthetic")
	d.SetStrings(dcm.ProtocolName, "LO", "Head routine")
	d.SetStrings(dcm.BodyPartExamined, "CS", "HEAD")
	position := "HFS"
	if s.Orientation[0] < 0 && s.Orientation[4] > 0 { // columns run to the right as seen from the feet, see FeetFirst
		position = "FFS"
	}
	d.SetStrings(dcm.PatientPosition, "CS", position)
	d.SetStrings(dcm.FrameOfReferenceUID, "UI", frame)
	d.SetStrings(dcm.PositionReferenceIndicator, "LO")
	d.SetStrings(dcm.Manufacturer, "LO", "ichor")
	d.SetStrings(dcm.ManufacturerModelName, "LO", "phantom")
	d.SetStrings(dcm.DeviceSerialNumber, "LO", strconv.FormatInt(s.Seed, 10))
	d.SetStrings(dcm.SoftwareVersions, "LO", "1")
	d.SetDecimals(dcm.KVP, s.KVP)
	d.SetStrings(dcm.ConvolutionKernel, "SH", "STANDARD")
	d.SetDecimals(dcm.SliceThickness, s.SliceThicknessMM)
	d.SetStrings(dcm.AcquisitionNumber, "IS", "1")
}

func (s *Study) image(d *dcm.DataSet, k int) {
	p := s.PositionsMM[k]
	d.SetStrings(dcm.ImageType, "CS", "ORIGINAL", "PRIMARY", "AXIAL")
	d.SetStrings(dcm.InstanceNumber, "IS", strconv.Itoa(k+1))
	d.SetDecimals(dcm.ImagePositionPatient, p[0], p[1], p[2])
	d.SetDecimals(dcm.ImageOrientationPatient, s.Orientation[:]...)
	d.SetDecimals(dcm.SliceLocation, p[2])
	d.SetInts(dcm.SamplesPerPixel, "US", 1)
	d.SetStrings(dcm.PhotometricInterpretation, "CS", "MONOCHROME2")
	d.SetInts(dcm.Rows, "US", int64(s.Rows))
	d.SetInts(dcm.Columns, "US", int64(s.Columns))
	d.SetDecimals(dcm.PixelSpacing, s.PixelSpacingMM[0], s.PixelSpacingMM[1])
	d.SetInts(dcm.BitsAllocated, "US", 16)
	d.SetInts(dcm.BitsStored, "US", 12)
	d.SetInts(dcm.HighBit, "US", 11)
	d.SetInts(dcm.PixelRepresentation, "US", 0)
	d.SetDecimals(dcm.RescaleIntercept, -1024)
	d.SetDecimals(dcm.RescaleSlope, 1)
	d.SetStrings(dcm.RescaleType, "LO", "HU")
	d.SetDecimals(dcm.WindowCenter, 40)
	d.SetDecimals(dcm.WindowWidth, 80)
	n := s.Rows * s.Columns
	raw := make([]byte, 2*n)
	for i, hu := range s.HU[k*n : (k+1)*n] {
		stored := math.Min(math.Max(float64(hu)+1024, 0), 4095)
		binary.LittleEndian.PutUint16(raw[2*i:], uint16(stored))
	}
	d.SetBytes(dcm.PixelData, "OW", raw)
}
