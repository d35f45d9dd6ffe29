package scp

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/scptest"
	"ichor/scp/secure"
	"ichor/scp/spool"
	"ichor/scp/ul"
)

// tool finds a program of Debian's dcmtk. Other packages install programs of the same names, so the
// path is not searched.
func tool(t testing.TB, name string) string {
	t.Helper()
	path := "/usr/bin/" + name
	if _, err := os.Stat(path); err != nil {
		t.Skipf("%s is missing: install the Debian package dcmtk", path)
	}
	return path
}

// files writes n CT objects as Part 10 files in Explicit VR Little Endian.
func files(t testing.TB, n, pixels int) (dir string, paths []string) {
	t.Helper()
	dir = t.TempDir()
	for i := range n {
		uid := fmt.Sprintf("1.2.826.0.7.%d", i)
		var b bytes.Buffer
		err := dcm.WriteMeta(&b, dcm.FileMeta{
			SOPClassUID: dcm.CTImageStorage, SOPInstanceUID: uid, TransferSyntaxUID: dcm.ExplicitVRLittleEndian,
		})
		if err != nil {
			t.Fatal(err)
		}
		b.Write(ct(t, uid, pixels, dcm.ExplicitVRLittleEndian))
		path := filepath.Join(dir, fmt.Sprintf("%03d.dcm", i))
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return dir, paths
}

func command(t testing.TB, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	return string(out), err
}

func TestDCMTKEcho(t *testing.T) {
	echoscu := tool(t, "echoscu")
	a := serve(t, Options{CheckCalledAE: true}, spool.Options{})
	host, port, _ := net.SplitHostPort(a.address)
	for _, c := range []struct {
		want string // in the output of a failure; empty: success
		args []string
	}{
		{"", []string{"-aec", "ICHOR"}},
		{"", []string{"-aec", "ICHOR", "-pdu", "4096", "--repeat", "5"}},
		{"", []string{"-aec", "ICHOR", "--abort"}},
		{"", []string{"-aec", "ICHOR", "-pts", "38", "-ppc", "100"}},
		{"Called AE Title Not Recognized", []string{"-aec", "OTHER"}},
		{"Calling AE Title Not Recognized", []string{"-aec", "ICHOR", "-aet", "NOBODY"}},
	} {
		out, err := command(t, echoscu, append(c.args, "-v", host, port)...)
		if c.want == "" && (err != nil || !strings.Contains(out, "Success")) || c.want != "" && !strings.Contains(out, c.want) {
			t.Errorf("%q: %v\n%s", c.args, err, out)
		}
	}
}

func TestDCMTKStore(t *testing.T) {
	storescu := tool(t, "storescu")
	dir, paths := files(t, 4, 200_000)
	for name, c := range map[string]struct {
		args   []string
		syntax string // stored
	}{
		"default":      {nil, dcm.ExplicitVRLittleEndian},
		"explicit":     {[]string{"-xe"}, dcm.ExplicitVRLittleEndian},
		"implicit":     {[]string{"-xi"}, dcm.ImplicitVRLittleEndian},
		"deflated":     {[]string{"-xd"}, dcm.DeflatedExplicitVRLittleEndian},
		"big endian":   {[]string{"-xb"}, dcm.ExplicitVRLittleEndian}, // proposed and not taken
		"JPEG":         {[]string{"-xs"}, dcm.ExplicitVRLittleEndian},
		"small PDU":    {[]string{"-pdu", "4096"}, dcm.ExplicitVRLittleEndian},
		"short frags":  {[]string{"--max-send-pdu", "4096"}, dcm.ExplicitVRLittleEndian},
		"separate":     {[]string{"--propose-lossless", "--combine"}, dcm.ExplicitVRLittleEndian},
		"repeated":     {[]string{"--repeat", "3"}, dcm.ExplicitVRLittleEndian},
		"abort at end": {[]string{"--abort"}, dcm.ExplicitVRLittleEndian},
	} {
		t.Run(name, func(t *testing.T) {
			a := serve(t, Options{DrainTimeout: 5 * time.Second}, spool.Options{})
			host, port, _ := net.SplitHostPort(a.address)
			out, err := command(t, storescu, append(c.args, "-v", "+sd", host, port, dir)...)
			if strings.Contains(out, "Unknown option") {
				t.Skip(out)
			}
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			a.stop()
			objects := a.spool.Study("1.2.826.0.99.1")
			if len(objects) != len(paths) || objects[0].TransferSyntaxUID != c.syntax {
				t.Errorf("%d objects, %+v\n%s", len(objects), objects, out)
			}
			if k := a.kinds(); name == "abort at end" && k[Aborted] != 1 || name != "abort at end" && k[Aborted] != 0 {
				t.Errorf("events %v", k)
			}
		})
	}
}

// TestDCMTKStoreReads: what is kept can be read again, whichever transfer syntax it came in.
func TestDCMTKStoreReads(t *testing.T) {
	storescu := tool(t, "storescu")
	for _, syntax := range []string{"-xd", "-xi", "-xe"} {
		_, paths := files(t, 1, 100_000)
		a := serve(t, Options{}, spool.Options{})
		host, port, _ := net.SplitHostPort(a.address)
		if out, err := command(t, storescu, syntax, host, port, paths[0]); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		r, err := a.spool.Read(a.spool.Study("1.2.826.0.99.1")[0])
		if err != nil {
			t.Fatal(err)
		}
		f, err := dcm.Read(r, r.Size(), dcm.Limits{})
		if err != nil || f.Data.String(dcm.SOPInstanceUID) != "1.2.826.0.7.0" || f.Data.String(dcm.PatientName) != "Secret^Patient" {
			t.Errorf("%s: %v", syntax, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		a.stop()
	}
}

// TestDCMTKReceiver sends to storescp. It listens on all interfaces, so it gets a network namespace of
// its own, where this test runs a second time.
func TestDCMTKReceiver(t *testing.T) {
	storescp := tool(t, "storescp")
	if os.Getenv("ICHOR_TEST_NAMESPACE") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestDCMTKReceiver$", "-test.v")
		cmd.Env = append(os.Environ(), "ICHOR_TEST_NAMESPACE=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Skipf("no network namespace to be had here: %v", err)
		}
		if err := cmd.Wait(); err != nil {
			t.Fatalf("%v\n%s", err, &out)
		}
		if !strings.Contains(out.String(), "--- PASS: TestDCMTKReceiver") {
			t.Fatalf("%s", &out)
		}
		return
	}
	loopback(t)
	authority := scptest.NewAuthority(t)
	theirs, own := authority.Valid("pacs"), authority.Valid("node")
	secured := open(t, secure.Files{Certificate: own.File, Key: own.Key, CA: authority.CA}).Client("localhost")
	for _, args := range [][]string{nil, {"-pdu", "4096"}, {"+xi"}, {"--fork"}, {"+tls", theirs.Key, theirs.File, "+cf", authority.CA}} {
		dir := t.TempDir()
		cmd := exec.Command(storescp, append(args, "-od", dir, "-aet", "PACS", "11199")...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var s *dimse.SCU
		var err error
		var security *tls.Config
		if slices.Contains(args, "+tls") {
			security = secured
		}
		for range 100 {
			s, err = dimse.Connect(t.Context(), dimse.ConnectOptions{
				Address: "127.0.0.1:11199", CallingAE: "ICHOR", CalledAE: "PACS", TLS: security,
				Contexts: []ul.ProposedContext{
					{AbstractSyntax: dcm.VerificationSOPClass, TransferSyntaxes: []string{dcm.ImplicitVRLittleEndian}},
					{AbstractSyntax: dcm.CTImageStorage, TransferSyntaxes: []string{dcm.ExplicitVRLittleEndian, dcm.ImplicitVRLittleEndian}},
				},
			})
			if err == nil {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Echo(t.Context()); err != nil {
			t.Errorf("%q: %v", args, err)
		}
		ts := s.Accepted(dcm.CTImageStorage)
		for i := range 3 {
			uid := fmt.Sprintf("1.2.3.%d", i)
			if st, err := s.Store(t.Context(), request(uid, ct(t, uid, 300_000, ts[0]), ts[0])); err != nil || !st.Success() {
				t.Errorf("%q: %s, %v", args, st, err)
			}
		}
		if err := s.Release(t.Context()); err != nil {
			t.Errorf("%q: %v", args, err)
		}
		if got, err := os.ReadDir(dir); err != nil || len(got) != 3 {
			t.Errorf("%q: %d files, %v", args, len(got), err)
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
	}
}

// loopback brings lo up in a fresh network namespace (netdevice(7)).
func loopback(t *testing.T) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	request := struct {
		name  [16]byte
		flags uint16
		_     [22]byte
	}{flags: syscall.IFF_UP | syscall.IFF_RUNNING}
	copy(request.name[:], "lo")
	if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), syscall.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&request))); e != 0 {
		t.Fatalf("loopback interface: %v", e)
	}
}

// python returns the interpreter of the training environment, which has pynetdicom.
func python(t *testing.T) string {
	t.Helper()
	p := os.Getenv("ICHOR_PYTHON")
	if p == "" {
		t.Skip("ICHOR_PYTHON is not set: make test-go sets it to a Python with pynetdicom")
	}
	if err := exec.Command(p, "-c", "import pynetdicom").Run(); err != nil {
		t.Skip("the Python of ICHOR_PYTHON has no pynetdicom")
	}
	return p
}

func TestPynetdicomSends(t *testing.T) {
	py := python(t)
	_, paths := files(t, 3, 200_000)
	for _, pdu := range []string{"0", "4096", "16383"} {
		a := serve(t, Options{AnyPeer: true}, spool.Options{})
		host, port, _ := net.SplitHostPort(a.address)
		out, err := command(t, py, append([]string{"testdata/send.py", host, port, pdu}, paths...)...)
		if err != nil || strings.TrimSpace(out) != "0000\n0000\n0000\n0000" {
			t.Errorf("PDU %s: %v\n%s", pdu, err, out)
		}
		a.stop()
		if n := len(a.spool.Study("1.2.826.0.99.1")); n != 3 {
			t.Errorf("%d objects", n)
		}
	}
}

func TestPynetdicomReceives(t *testing.T) {
	py := python(t)
	for _, pdu := range []string{"0", "4096", "16383"} {
		cmd := exec.Command(py, "testdata/receive.py", pdu)
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(stdout)
		if !lines.Scan() {
			t.Fatal("no port")
		}
		s := connect(t, dimse.ConnectOptions{
			Address: "127.0.0.1:" + lines.Text(), CallingAE: "ICHOR", CalledAE: "PYNETDICOM",
			Contexts: []ul.ProposedContext{
				{AbstractSyntax: dcm.VerificationSOPClass, TransferSyntaxes: []string{dcm.ImplicitVRLittleEndian}},
				{AbstractSyntax: dcm.CTImageStorage, TransferSyntaxes: []string{dcm.ExplicitVRLittleEndian}},
			},
		})
		if err := s.Echo(t.Context()); err != nil {
			t.Error(err)
		}
		ts := dcm.ExplicitVRLittleEndian
		if _, err := s.Store(t.Context(), request("1.2.3", ct(t, "1.2.3", 300_000, ts), ts)); err != nil {
			t.Error(err)
		}
		if err := s.Release(t.Context()); err != nil {
			t.Error(err)
		}
		for _, want := range []string{"echoed", "stored 1.2.3 300000", "released"} {
			if !lines.Scan() || lines.Text() != want {
				t.Errorf("PDU %s: %q, want %q", pdu, lines.Text(), want)
			}
		}
		stdin.Close()
		if _, err := io.Copy(io.Discard, stdout); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
}
