package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/ul"
)

const (
	crowdSize    = 200
	crowdObjects = 5
	hugeBytes    = 2047 << 20
)

// crowd prints the node's resident memory while 200 associations store at once and one more sends an object of 2 GiB.
func (b *bench) crowd(ctx context.Context) error {
	objects, err := loadObjects(b.studies[:1])
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(b.work, "node-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	port, other, err := freePorts()
	if err != nil {
		return err
	}
	cmd := exec.Command(b.ichor, "serve", "--state", dir, "--listen", fmt.Sprintf("127.0.0.1:%d", port), "--http", fmt.Sprintf("127.0.0.1:%d", other))
	cmd.Env = append(os.Environ(), "ICHOR_ASSEMBLY_QUIET_PERIOD=1h", "ICHOR_ASSEMBLY_LIMIT=2h", "ICHOR_CANARY_START=false", "ICHOR_DICOM_MAX_ASSOCIATIONS=256", "ICHOR_DICOM_MAX_PER_PEER=256")
	stop, err := startNode(ctx, cmd, port)
	if err != nil {
		return err
	}
	defer stop()
	time.Sleep(rest)
	proc := fmt.Sprintf("/proc/%d/", cmd.Process.Pid)
	before, err := memory(proc, "VmRSS:")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(proc, "clear_refs"), []byte("5"), 0); err != nil { // reset the recorded peak
		return err
	}
	start := time.Now()
	g, sending := errgroup.WithContext(ctx)
	for i := range crowdSize {
		g.Go(func() error {
			return (&received{}).time(sending, local(port), own(objects[:crowdObjects], i))
		})
	}
	g.Go(func() error { return sendHuge(sending, port, objects[0]) })
	if err := g.Wait(); err != nil {
		return fmt.Errorf("crowd: %w", err)
	}
	took := time.Since(start)
	peak, err := memory(proc, "VmHWM:")
	if err != nil {
		return err
	}
	fmt.Printf("\nCrowd: %d simultaneous associations with %d objects of 0.5 MB each, plus one with an object of 2 GiB: %.1f s;\n"+
		"resident memory of the node %d MiB at rest (with networks loaded), %d MiB at the peak\n", crowdSize, crowdObjects, took.Seconds(), before>>10, peak>>10)
	return nil
}

// memory reads one line of /proc/PID/status, in KiB.
func memory(proc, line string) (kib int, err error) {
	status, err := os.ReadFile(filepath.Join(proc, "status"))
	if err != nil {
		return 0, err
	}
	_, value, found := strings.Cut(string(status), line)
	if !found {
		return 0, errors.New("no " + line + " of the process")
	}
	_, err = fmt.Sscanf(value, "%d kB", &kib)
	return kib, err
}

// own copies objects and gives the copies UIDs, of the same length, that no other association sends.
func own(objects []object, n int) (list []object) {
	for _, o := range objects {
		tail := fmt.Sprintf("%06d", n)
		instance := o.instance[:len(o.instance)-len(tail)] + tail
		list = append(list, object{o.class, instance, o.transferSyntax, bytes.ReplaceAll(o.data, []byte(o.instance), []byte(instance))})
	}
	return list
}

// sendHuge sends an object of 2 GiB, generated while it is sent.
func sendHuge(ctx context.Context, port int, like object) error {
	const uid = "1.2.826.0.1.3680043.10.999.1"
	d := &dcm.DataSet{}
	for tag, v := range map[dcm.Tag]string{dcm.SOPClassUID: like.class, dcm.SOPInstanceUID: uid, dcm.StudyInstanceUID: uid + ".1", dcm.SeriesInstanceUID: uid + ".2"} {
		d.Put(dcm.Element{Tag: tag, VR: "UI", Value: []string{v}})
	}
	d.Put(dcm.Element{Tag: dcm.Modality, VR: "CS", Value: []string{"CT"}})
	var head bytes.Buffer
	if err := dcm.WriteDataSet(&head, d, dcm.ExplicitVRLittleEndian); err != nil {
		return err
	}
	n := hugeBytes
	head.Write([]byte{0xE0, 0x7F, 0x10, 0x00, 'O', 'W', 0, 0, byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)})
	scu, err := dimse.Connect(ctx, dimse.ConnectOptions{
		Address: local(port), CallingAE: "HUGE", CalledAE: "ICHOR", ResponseTimeout: 5 * time.Minute,
		Contexts: []ul.ProposedContext{{AbstractSyntax: like.class, TransferSyntaxes: []string{dcm.ExplicitVRLittleEndian}}},
	})
	if err != nil {
		return err
	}
	_, err = scu.Store(ctx, dimse.StoreRequest{SOPClassUID: like.class, SOPInstanceUID: uid, TransferSyntaxUID: dcm.ExplicitVRLittleEndian,
		Data: io.MultiReader(&head, io.LimitReader(zeros{}, hugeBytes))})
	if err != nil {
		scu.Abort()
		return err
	}
	return scu.Release(ctx)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
