package state

import (
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"ichor/pipeline/finding"
)

// Outcome is how one revision of a case ended: its result, and whether it was replaced.
type Outcome struct {
	Version    int            `json:"version"`
	Revision   int            `json:"revision"`
	At         time.Time      `json:"at"`
	Objects    int            `json:"objects"` // number of objects analysed
	Complete   string         `json:"complete,omitempty"`
	Status     finding.Status `json:"status"`
	Code       string         `json:"code,omitempty"`
	Reason     string         `json:"reason,omitempty"`
	TotalML    *float64       `json:"total_ml,omitempty"`          // nil for a refused study
	Corrected  bool           `json:"patient_corrected,omitempty"` // see finding.Finding
	Identity   string         `json:"identity,omitempty"`          // of all its objects together: equal if the objects are equal
	Instances  []Instance     `json:"instances,omitempty"`
	ReplacedBy int            `json:"replaced_by,omitempty"` // revision; 0: not replaced
	Why        string         `json:"why,omitempty"`         // why it was replaced
}

// Instance is one object of a result.
type Instance struct {
	Kind              string `json:"kind"`
	SOPClassUID       string `json:"sop_class_uid"`
	SOPInstanceUID    string `json:"sop_instance_uid"`
	SeriesInstanceUID string `json:"series_instance_uid,omitempty"`
}

// Outcomes returns the outcomes of the revisions of a case that have ended, the oldest first.
func (s *Store) Outcomes(id CaseID) (all []Outcome, err error) {
	err = s.view(func(tx *bolt.Tx) error {
		all, err = outcomes(tx, id)
		return err
	})
	return all, err
}

func outcomes(tx *bolt.Tx, id CaseID) ([]Outcome, error) {
	return decodeAll[Outcome](tx.Bucket(bucketOutcomes), []byte(id), "results of case "+string(id))
}

// putOutcome records the result of a case and that it replaces the previous one.
func putOutcome(tx *bolt.Tx, c Case, f finding.Finding, identity string, deliveries []Delivery, now time.Time) error {
	before, err := outcomes(tx, c.ID)
	if err != nil {
		return err
	}
	o := Outcome{Version: formatVersion, Revision: c.Revision, At: now.UTC(), Objects: c.Objects, Complete: c.Complete,
		Status: f.Status, Code: f.Code, Reason: f.Reason, Corrected: f.Corrected, Identity: identity}
	if f.Volumes != nil {
		o.TotalML = &f.Volumes.Total
	}
	seen := map[string]bool{}
	for _, d := range deliveries {
		if !seen[d.SOPInstanceUID] {
			seen[d.SOPInstanceUID] = true
			o.Instances = append(o.Instances, Instance{d.Kind, d.SOPClassUID, d.SOPInstanceUID, d.SeriesInstanceUID})
		}
	}
	b := tx.Bucket(bucketOutcomes)
	if len(before) > 0 {
		last := before[len(before)-1]
		last.ReplacedBy, last.Why = c.Revision, why(last, o)
		if err := putJSON(b, numberKey([]byte(c.ID), uint64(last.Revision)), last); err != nil {
			return err
		}
	}
	return putJSON(b, numberKey([]byte(c.ID), uint64(c.Revision)), o)
}

// why returns why a result replaces another.
func why(old, o Outcome) string {
	switch {
	case o.Identity != old.Identity && o.Corrected:
		return "the sender corrected the patient identification"
	case o.Identity != "" && o.Identity == old.Identity:
		return "analysed again, same objects"
	case o.Objects != old.Objects:
		return fmt.Sprintf("was based on %d objects; there are %d now", old.Objects, o.Objects)
	}
	return "analysed again, different result"
}

// Stand ends a revision that cannot be analysed because objects of the study were lost. The result of an earlier revision
// remains valid; a case without one is failed. It returns the case, or ErrStale like Begin.
func (s *Store) Stand(id CaseID, revision int, why string, now time.Time) (Case, error) {
	var c Case
	err := s.update(func(tx *bolt.Tx) (err error) {
		if c, err = current(tx, id, revision); err != nil {
			return err
		}
		to := Failed
		if c.Finding != nil {
			to = endOf(*c.Finding)
		}
		c.Error = why
		return advance(tx, &c, to, now, why)
	})
	return c, err
}

// endOf returns the phase of a case with this finding.
func endOf(f finding.Finding) Phase {
	if f.Status == finding.Refused {
		return Refused
	}
	return Analyzed
}

// Current returns the finding of the current revision, nil if there is none. A case that is being received or analysed again,
// or whose new analysis failed, still has the finding of an earlier revision.
func (c Case) Current() *finding.Finding {
	if c.Phase == Analyzed || c.Phase == Refused {
		return c.Finding
	}
	return nil
}

// HasFailed reports whether a case exists and has failed. It is called for each repeated object, so it reads no case while no
// case has failed.
func (s *Store) HasFailed(id CaseID) bool {
	failed := false
	_ = s.view(func(tx *bolt.Tx) error {
		if readCount(tx, countCases(Failed)) == 0 {
			return nil
		}
		c, err := getCase(tx, id)
		failed = err == nil && c.Phase == Failed
		return nil
	})
	return failed
}
