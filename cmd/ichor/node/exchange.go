package node

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"ichor/pipeline"
	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
)

// What a node and the workers of other machines say to each other, over HTTPS with certificates of both:
//
//	POST /workers/v1/hello                        whether a worker and the node agree; the worker says who it is
//	POST /workers/v1/jobs/CASE/REVISION/begin     the objects of a study: their digests and sizes
//	GET  /workers/v1/jobs/CASE/REVISION/heads     the first 64 KiB of each object, which hold its header
//	GET  /workers/v1/jobs/CASE/REVISION/objects/N a whole object
//	POST /workers/v1/jobs/CASE/REVISION/result    finding and masks
//	POST /workers/v1/jobs/CASE/REVISION/failed    an analysis failed; the node says whether to retry it
//	POST /workers/v1/jobs/CASE/REVISION/putoff    an analysis was interrupted
//
// 410 means that the job is done or no longer needed; 404, 409 and 503 that it should be tried again later.
const workersPath = "/workers/v1/"

// headBytes is how much of each object is sent before it is known which series is analysed.
const headBytes = 64 << 10

// identity is what node and worker must have in common, so that it does not matter who analyses a study.
type identity struct {
	Version    string            `json:"version"` // of ichor
	Bundle     string            `json:"bundle"`  // name, version and digest
	Parameters map[string]string `json:"parameters"`
}

func (e *Engine) identity(version string) identity {
	b := e.Bundle
	return identity{version, b.Name + " " + b.Version + " " + b.Digest, e.Adopter.Parameters()}
}

// differs returns in what another process differs from this one, nil if in nothing. self and other name the two, at is where
// self is.
func (i identity) differs(than identity, self, at, other string) error {
	switch {
	case i.Version != than.Version:
		return fmt.Errorf("%s is ichor %s, %s %s: install the same version", self, i.Version, other, than.Version)
	case i.Bundle != than.Bundle:
		return fmt.Errorf("%s uses bundle %s, %s %s: use the same bundle, precision and operating point", self, i.Bundle, other, than.Bundle)
	case !maps.Equal(i.Parameters, than.Parameters):
		for _, k := range slices.Sorted(maps.Keys(i.Parameters)) {
			if v := i.Parameters[k]; than.Parameters[k] != v {
				return fmt.Errorf("%s is %q %s, %q on %s: use the same settings in analysis", k, v, at, than.Parameters[k], other)
			}
		}
		return errors.New("the settings of the analysis differ: use the same in analysis")
	}
	return nil
}

// task is a study to analyse.
type task struct {
	Objects []taskObject `json:"objects"` // in the order of arrival
}

type taskObject struct {
	SHA256 string `json:"sha256"` // of the data set
	Size   int64  `json:"size"`   // of the file
}

// verdict is what becomes of a failed analysis.
type verdict struct {
	Reason string `json:"reason,omitempty"`
	Tries  int    `json:"tries,omitempty"`
	Again  bool   `json:"again,omitempty"`
}

// resultHead precedes the masks of a result.
type resultHead struct {
	Finding finding.Finding `json:"finding"`
	Sources []volume.Source `json:"sources"`
	Voxels  int             `json:"voxels"` // of each mask
}

// Limits of a result.
const (
	mostResultHead = 16 << 20
	mostVoxels     = 2048 * 512 * 512
)

// writeResult writes a result: the length of the head, the head as JSON, then labels and cavity; all compressed.
func writeResult(w io.Writer, e pipeline.Elsewhere) error {
	head, err := json.Marshal(resultHead{e.Finding, e.Sources, len(e.Labels)})
	if err != nil {
		return err
	}
	z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return err
	}
	for _, part := range [][]byte{binary.BigEndian.AppendUint32(nil, uint32(len(head))), head, e.Labels, e.Cavity} {
		if _, err := z.Write(part); err != nil {
			return err
		}
	}
	return z.Close()
}

// readResult reads what writeResult has written. It allocates only for what arrives.
func readResult(r io.Reader) (e pipeline.Elsewhere, err error) {
	z, err := gzip.NewReader(bufio.NewReader(r))
	if err != nil {
		return e, err
	}
	var length [4]byte
	if _, err := io.ReadFull(z, length[:]); err != nil {
		return e, err
	}
	n := int64(binary.BigEndian.Uint32(length[:]))
	if n > mostResultHead {
		return e, fmt.Errorf("finding of %d bytes, more than %d", n, mostResultHead)
	}
	raw, err := exactly(z, n)
	if err != nil {
		return e, err
	}
	var head resultHead
	if err := json.Unmarshal(raw, &head); err != nil {
		return e, err
	}
	if head.Voxels < 0 || head.Voxels > mostVoxels {
		return e, fmt.Errorf("masks of %d voxels, more than %d", head.Voxels, mostVoxels)
	}
	e.Finding, e.Sources = head.Finding, head.Sources
	if head.Voxels == 0 {
		return e, nil
	}
	if e.Labels, err = exactly(z, int64(head.Voxels)); err != nil {
		return e, err
	}
	e.Cavity, err = exactly(z, int64(head.Voxels))
	return e, err
}

// exactly reads n bytes.
func exactly(r io.Reader, n int64) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r, n))
	if err == nil && int64(len(raw)) < n {
		err = io.ErrUnexpectedEOF
	}
	return raw, err
}
