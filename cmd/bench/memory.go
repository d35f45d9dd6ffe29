package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/ul"
)

// object is a data set ready to be sent.
type object struct {
	class, instance, transferSyntax string
	data                            []byte
}

// loadObjects reads all files of the folders.
func loadObjects(folders []string) (objects []object, err error) {
	for _, folder := range folders {
		files, err := filepath.Glob(filepath.Join(folder, "*"))
		if err != nil {
			return nil, err
		}
		for _, name := range files {
			raw, err := os.ReadFile(name)
			if err != nil {
				return nil, err
			}
			f, err := dcm.Read(bytes.NewReader(raw), int64(len(raw)), dcm.Limits{})
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			o := object{f.Data.String(dcm.SOPClassUID), f.Data.String(dcm.SOPInstanceUID), f.Meta.TransferSyntaxUID, nil}
			if o.data, err = io.ReadAll(f.Encoded()); err != nil {
				return nil, err
			}
			objects = append(objects, o)
		}
	}
	return objects, nil
}

// time sends objects over one association and records how long each response takes.
func (r *received) time(ctx context.Context, address string, objects []object) error {
	scu, err := dimse.Connect(ctx, dimse.ConnectOptions{
		Address: address, CallingAE: "STORESCU", CalledAE: "ICHOR",
		Contexts: []ul.ProposedContext{{AbstractSyntax: objects[0].class, TransferSyntaxes: []string{objects[0].transferSyntax}}},
	})
	if err != nil {
		return err
	}
	for _, o := range objects {
		data := &ending{r: bytes.NewReader(o.data)}
		_, err := scu.Store(ctx, dimse.StoreRequest{SOPClassUID: o.class, SOPInstanceUID: o.instance, TransferSyntaxUID: o.transferSyntax, Data: data})
		if err != nil {
			scu.Abort()
			return err
		}
		r.ms = append(r.ms, time.Since(data.at).Seconds()*1000)
	}
	return scu.Release(ctx)
}

// ending records when its reader reached the end, just before the last bytes are written to the network.
type ending struct {
	r  io.Reader
	at time.Time
}

func (e *ending) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	if err == io.EOF {
		e.at = time.Now()
	}
	return n, err
}

// local returns the loopback address with this port.
func local(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
