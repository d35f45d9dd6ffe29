package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"

	"ichor/scp/dcm"
)

// migrated is the initial running time of a file of an earlier version, so that its deliveries can have an age.
const migrated = 60 * 24 * time.Hour

// keepFormer copies a file of an earlier version before it is converted. A copy of an interrupted start is replaced.
func keepFormer(db *bolt.DB) error {
	return db.View(func(tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if meta == nil {
			return nil
		}
		version, err := versionOf(meta)
		if err != nil || version == 0 || version == formatVersion {
			return err
		}
		kept := fmt.Sprintf("%s.format%d", db.Path(), version)
		if err := tx.CopyFile(kept+".part", 0o600); err != nil { // also syncs it
			return fmt.Errorf("copy of the file before its conversion: %w", err)
		}
		return errors.Join(os.Rename(kept+".part", kept), syncFolder(filepath.Dir(kept)))
	})
}

// migrate converts a file of an earlier version, which used the wall clock for waits and ages of deliveries.
func migrate(tx *bolt.Tx, now time.Time) error {
	if err := putJSON(tx.Bucket(bucketMeta), keyRunning, migrated); err != nil {
		return err
	}
	for _, index := range [][]byte{bucketDue, bucketUncommitted} {
		if err := tx.DeleteBucket(index); err != nil {
			return err
		}
		if _, err := tx.CreateBucket(index); err != nil {
			return err
		}
	}
	ago := func(t time.Time) time.Duration { return migrated - min(max(now.Sub(t), 0), migrated-time.Hour) }
	var all []Delivery
	err := tx.Bucket(bucketDeliveries).ForEach(func(k, v []byte) error {
		var was struct {
			Delivery
			Next  time.Time `json:"next"`
			Since time.Time `json:"since"`
		}
		if err := json.Unmarshal(v, &was); err != nil {
			return fmt.Errorf("delivery of format 2: %w: %w", ErrDamaged, err)
		}
		d := was.Delivery
		switch {
		case d.State == Stored:
			d.From, d.Due = ago(d.StoredAt), migrated
		case was.Next.After(was.Since):
			d.From, d.Due = ago(was.Since), migrated+1
		default:
			d.From, d.Due = ago(was.Since), ago(was.Since)
		}
		all = append(all, d)
		return nil
	})
	for _, d := range all {
		err = errors.Join(err, putDelivery(tx, &d, d.Updated))
		if index, key := indexOf(d); index != nil {
			err = errors.Join(err, tx.Bucket(index).Put(key, d.bytes()))
		}
	}
	if err != nil {
		return err
	}
	err = tx.Bucket(bucketTransactions).ForEach(func(k, _ []byte) error { return await(tx, bucketTransactions, k) })
	return errors.Join(err, migratePromises(tx))
}

// migratePromises encodes the requests of peers, which format 2 kept as lists, as action information (PS3.4 §J.3.2.1).
func migratePromises(tx *bolt.Tx) error {
	list := map[string]promise{}
	err := tx.Bucket(bucketPromises).ForEach(func(k, v []byte) error {
		var was struct {
			promise
			Objects [][2]string `json:"objects"` // SOP class, SOP instance
		}
		if err := json.Unmarshal(v, &was); err != nil {
			return fmt.Errorf("storage commitment of format 2: %w: %w", ErrDamaged, err)
		}
		d, items := &dcm.DataSet{}, []*dcm.DataSet{}
		for _, o := range was.Objects {
			item := &dcm.DataSet{}
			item.SetStrings(dcm.ReferencedSOPClassUID, "UI", o[0])
			item.SetStrings(dcm.ReferencedSOPInstanceUID, "UI", o[1])
			items = append(items, item)
		}
		d.SetStrings(dcm.TransactionUID, "UI", was.TransactionUID)
		d.SetSequence(dcm.ReferencedSOPSequence, items...)
		request, err := dcm.EncodeInformation(d, dcm.ExplicitVRLittleEndian)
		list[string(k)] = promise{formatVersion, was.Peer, was.TransactionUID, request, migrated}
		return err
	})
	for k, p := range list {
		err = errors.Join(err, await(tx, bucketPromises, []byte(k)), putJSON(tx.Bucket(bucketPromises), []byte(k), p))
	}
	return err
}
