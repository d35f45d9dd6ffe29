package state

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"time"

	bolt "go.etcd.io/bbolt"

	"ichor/pipeline/finding"
)

// scanned is one entry of the index of earlier findings. Its key is a keyed digest of patient ID and issuer, then the case.
// Nothing in it identifies the patient, and the key of the digests never leaves the file.
type scanned struct {
	Version int       `json:"version"`
	At      time.Time `json:"at"`
	DayOnly bool      `json:"day_only,omitempty"`
	Birth   []byte    `json:"birth,omitempty"` // digests; empty if unknown
	Sex     []byte    `json:"sex,omitempty"`
}

var keySecret = []byte("patients secret")

// Prior returns the newest earlier finding of the same patient in another study, compared with f, the finding of case id; nil
// if there is none. The patient is the same if ID and issuer are equal and date of birth and sex do not differ. There is no
// prior for an ID that many patients share, or for a scan without a date.
func (s *Store) Prior(id CaseID, e Exam, f finding.Finding) (*finding.Prior, error) {
	if !e.named() || e.At.IsZero() || f.Status != finding.Analyzed || f.Volumes == nil {
		return nil, nil
	}
	var out *finding.Prior
	err := s.view(func(tx *bolt.Tx) error {
		secret := tx.Bucket(bucketMeta).Get(keySecret)
		if secret == nil {
			return nil
		}
		key, now := patientKey(secret, e), e.scanned(secret)
		var newest scanned
		var of Case
		cur := tx.Bucket(bucketPatients).Cursor()
		for k, v := cur.Seek(key); k != nil && bytes.HasPrefix(k, key); k, v = cur.Next() {
			then, err := decode[scanned](v, "scan of a patient")
			if err != nil {
				return err
			}
			other := CaseID(k[len(key):])
			if other == id || !then.before(now) || !agree(then.Birth, now.Birth) || !agree(then.Sex, now.Sex) || then.At.Before(newest.At) {
				continue
			}
			c, err := getCase(tx, other)
			switch {
			case errors.Is(err, ErrNotFound):
				continue
			case err != nil:
				return err
			case c.Finding == nil || c.Finding.Status != finding.Analyzed || c.Finding.Volumes == nil:
				continue
			}
			newest, of = then, c
		}
		if of.Finding != nil {
			out = compare(of, newest, f, now)
		}
		return nil
	})
	return out, err
}

// compare returns what changed since the finding of c.
func compare(c Case, then scanned, f finding.Finding, now scanned) *finding.Prior {
	p := &finding.Prior{StudyInstanceUID: c.StudyInstanceUID, Hours: math.Round(now.At.Sub(then.At).Hours()*100) / 100,
		Volumes: *c.Finding.Volumes, ChangeML: f.Volumes.Total - c.Finding.Volumes.Total}
	if p.Volumes.Total > 0 {
		p.ChangePercent = 100 * p.ChangeML / p.Volumes.Total
	}
	caution := func(format string, args ...any) {
		if p.Caution != "" {
			p.Caution += " "
		}
		p.Caution += fmt.Sprintf(format, args...)
	}
	if b := c.Finding.Bundle; b.Digest != f.Bundle.Digest {
		caution("The earlier study was analyzed by other networks (%s %s).", b.Name, b.Version)
	}
	if c.Finding.Series != nil && f.Series != nil {
		if a, b := c.Finding.Series.SpacingMM[2], f.Series.SpacingMM[2]; math.Abs(a-b) > 0.2*math.Max(a, b) {
			caution("Its slices are %.1f mm apart, those of this study %.1f mm.", a, b)
		}
	}
	if then.DayOnly || now.DayOnly {
		caution("The time of day is not known for both scans.")
	}
	return p
}

// before reports whether a scan was certainly made before another. If a time of day is missing, it must be on an earlier day.
func (a scanned) before(b scanned) bool {
	if a.DayOnly || b.DayOnly {
		return a.At.Truncate(24 * time.Hour).Before(b.At.Truncate(24 * time.Hour))
	}
	return a.At.Before(b.At)
}

// agree reports whether two digests do not contradict each other: unknown matches everything.
func agree(a, b []byte) bool { return len(a) == 0 || len(b) == 0 || bytes.Equal(a, b) }

// putExam records who was scanned in a case and replaces an earlier record.
func putExam(tx *bolt.Tx, id CaseID, e Exam, status finding.Status) error {
	if err := dropExam(tx, id); err != nil {
		return err
	}
	if !e.named() || e.At.IsZero() || status != finding.Analyzed {
		return nil
	}
	meta := tx.Bucket(bucketMeta)
	secret := meta.Get(keySecret)
	if secret == nil {
		secret = make([]byte, sha256.Size)
		_, _ = rand.Read(secret) // never fails
		if err := meta.Put(keySecret, secret); err != nil {
			return err
		}
	}
	key := append(patientKey(secret, e), id...)
	return errors.Join(
		putJSON(tx.Bucket(bucketPatients), key, e.scanned(secret)),
		tx.Bucket(bucketExams).Put([]byte(id), key))
}

func dropExam(tx *bolt.Tx, id CaseID) error {
	key := bytes.Clone(tx.Bucket(bucketExams).Get([]byte(id)))
	if key == nil {
		return nil
	}
	return errors.Join(tx.Bucket(bucketPatients).Delete(key), tx.Bucket(bucketExams).Delete([]byte(id)))
}

func (e Exam) scanned(secret []byte) scanned {
	out := scanned{Version: formatVersion, At: e.At, DayOnly: e.DayOnly}
	if e.BirthDate != "" {
		out.Birth = digest(secret, "birth", e.PatientID, e.BirthDate)
	}
	if e.Sex != "" {
		out.Sex = digest(secret, "sex", e.PatientID, e.Sex)
	}
	return out
}

func patientKey(secret []byte, e Exam) []byte {
	return digest(secret, "patient", e.PatientID, e.Issuer)
}

func digest(secret []byte, parts ...string) []byte {
	h := hmac.New(sha256.New, secret)
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return h.Sum(nil)
}
