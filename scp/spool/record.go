package spool

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"
	"unique"

	"ichor/scp/dcm"
)

// A segment consists of a segment header and records. All numbers are little endian.
//
//	segment header   "ichor segment 1\n", nonce [16], zero [28], CRC-32C of the 60 bytes before
//	record header    nonce [16], kind u32, prefix length u32, payload length u64, meta length u32,
//	                 zero [24], CRC-32C of the 60 bytes before
//	payload          a Part 10 file: prefix (preamble, DICM, group 2), then the data set as received
//	meta             JSON
//	trailer          SHA-256 of the data set [32], SHA-256 of record header, prefix, meta and that digest [32],
//	                 record length u64, "ichor.ok"
//
// The lengths in a record header are zero until Commit, which writes meta and trailer and completes the header before the
// single fdatasync. The nonce is random for each segment, so no payload can contain bytes that look like a record header.
//
// The last record of a finished segment is its seal, an index of its contents: at the start Open reads the seal instead of
// every record. A seal also means that all records before it were committed. In a segment without seal, the last record may
// be incomplete after a power loss.
const (
	segmentMagic     = "ichor segment 1\n"
	segmentHeaderLen = 64
	recordHeaderLen  = 64
	trailerLen       = 80
	trailerMagic     = "ichor.ok"
	maxMetaLen       = 64 << 20 // a tombstone lists every object of a study
)

type kind uint32

const (
	objectRecord    kind = 1
	tombstoneRecord kind = 2
	sealRecord      kind = 3
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// header is a record header.
type header struct {
	nonce   [16]byte
	kind    kind
	prefix  uint32
	payload uint64
	meta    uint32
}

// length returns the length of the whole record.
func (h header) length() int64 {
	return recordHeaderLen + int64(h.payload) + int64(h.meta) + trailerLen
}

func (h header) encode() []byte {
	b := make([]byte, recordHeaderLen)
	copy(b, h.nonce[:])
	binary.LittleEndian.PutUint32(b[16:], uint32(h.kind))
	binary.LittleEndian.PutUint32(b[20:], h.prefix)
	binary.LittleEndian.PutUint64(b[24:], h.payload)
	binary.LittleEndian.PutUint32(b[32:], h.meta)
	return seal(b)
}

// decodeHeader decodes and checks the header of a finished record; b has at least recordHeaderLen bytes.
func decodeHeader(b []byte, nonce [16]byte) (header, error) {
	h := header{nonce: [16]byte(b), kind: kind(binary.LittleEndian.Uint32(b[16:])),
		prefix: binary.LittleEndian.Uint32(b[20:]), payload: binary.LittleEndian.Uint64(b[24:]),
		meta: binary.LittleEndian.Uint32(b[32:])}
	switch {
	case h.nonce != nonce || !sealed(b[:recordHeaderLen]):
		return h, fmt.Errorf("record header does not match its checksum")
	case h.meta == 0:
		return h, errUnfinished
	case h.payload > 1<<48 || h.meta > maxMetaLen || uint64(h.prefix) > h.payload:
		return h, fmt.Errorf("record header with invalid lengths %d, %d, %d", h.prefix, h.payload, h.meta)
	}
	return h, nil
}

// errUnfinished: the record was started but not committed.
var errUnfinished = fmt.Errorf("record not committed")

func encodeSegmentHeader(nonce [16]byte) []byte {
	b := make([]byte, segmentHeaderLen)
	copy(b, segmentMagic)
	copy(b[16:], nonce[:])
	return seal(b)
}

func seal(b []byte) []byte {
	binary.LittleEndian.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
	return b
}

func sealed(b []byte) bool {
	return binary.LittleEndian.Uint32(b[60:]) == crc32.Checksum(b[:60], castagnoli)
}

// encodeTrailer encodes the trailer of a record. prefix and meta are as written, data is the digest of the data set.
func encodeTrailer(h header, prefix, meta []byte, data [32]byte) []byte {
	b := make([]byte, 0, trailerLen)
	b = append(b, data[:]...)
	whole := recordDigest(h, prefix, meta, data)
	b = append(b, whole[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.length()))
	return append(b, trailerMagic...)
}

func recordDigest(h header, prefix, meta []byte, data [32]byte) [32]byte {
	d := sha256.New()
	d.Write(h.encode())
	d.Write(prefix)
	d.Write(meta)
	d.Write(data[:])
	return [32]byte(d.Sum(nil))
}

// bare encodes a record without payload.
func bare(nonce [16]byte, k kind, meta []byte) []byte {
	h := header{nonce: nonce, kind: k, meta: uint32(len(meta))}
	return append(append(h.encode(), meta...), encodeTrailer(h, nil, meta, sha256.Sum256(nil))...)
}

// objectMeta is the JSON of an object record.
type objectMeta struct {
	Version           int       `json:"version"`
	StudyInstanceUID  string    `json:"study"`
	SeriesInstanceUID string    `json:"series"`
	SOPClassUID       string    `json:"class"`
	SOPInstanceUID    string    `json:"instance"`
	Modality          string    `json:"modality,omitempty"`
	TransferSyntaxUID string    `json:"transferSyntax"`
	CallingAE         string    `json:"callingAE,omitempty"`
	Received          time.Time `json:"received"`
	Conflict          bool      `json:"conflict,omitempty"`
}

// tombstoneMeta is the JSON of a tombstone record: objects that were removed, or set aside as damaged.
type tombstoneMeta struct {
	Version int        `json:"version"`
	Removed []location `json:"removed"`
	At      time.Time  `json:"at"`
	Damage  string     `json:"damage,omitempty"`
}

// sealMeta is the JSON of a seal: the intact objects of the segment, and those found damaged when it was sealed.
type sealMeta struct {
	Version int          `json:"version"`
	Objects []sealObject `json:"objects"`
	Damaged []sealDamage `json:"damaged,omitempty"`
}

type sealObject struct {
	objectMeta
	Offset int64  `json:"offset"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

type sealDamage struct {
	Offset int64  `json:"offset"`
	Reason string `json:"reason"`
}

func metaOf(o Object) objectMeta {
	return objectMeta{Version: 1, StudyInstanceUID: o.StudyInstanceUID, SeriesInstanceUID: o.SeriesInstanceUID,
		SOPClassUID: o.SOPClassUID, SOPInstanceUID: o.SOPInstanceUID, Modality: o.Modality,
		TransferSyntaxUID: o.TransferSyntaxUID, CallingAE: o.CallingAE, Received: o.Received, Conflict: o.Conflict}
}

// object returns m as an Object at a location. Strings that many objects share are interned.
func (m objectMeta) object(size int64, digest string, at location) Object {
	return Object{
		Meta: Meta{Identifiers: dcm.Identifiers{StudyInstanceUID: one(m.StudyInstanceUID), SeriesInstanceUID: one(m.SeriesInstanceUID),
			SOPClassUID: one(m.SOPClassUID), SOPInstanceUID: m.SOPInstanceUID, Modality: one(m.Modality)},
			TransferSyntaxUID: one(m.TransferSyntaxUID), CallingAE: one(m.CallingAE), Received: m.Received},
		Size: size, SHA256: digest, Conflict: m.Conflict, at: at}
}

func one(s string) string { return unique.Make(s).Value() }
