package scp

import (
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"ichor/scp/spool"
)

// TestGDCM: the SCU of GDCM, whose upper layer is its own.
func TestGDCM(t *testing.T) {
	const gdcmscu = "/usr/bin/gdcmscu"
	if _, err := os.Stat(gdcmscu); err != nil {
		t.Skipf("%s is missing: install the Debian package libgdcm-tools", gdcmscu)
	}
	dir, paths := files(t, 3, 200_000)
	a := serve(t, Options{AnyPeer: true, CheckCalledAE: true, DrainTimeout: 5 * time.Second}, spool.Options{})
	host, port, _ := net.SplitHostPort(a.address)
	to := []string{"--aetitle", "GDCM", "--call", "ICHOR", host, port}
	out, err := command(t, gdcmscu, append([]string{"--echo"}, to...)...)
	if strings.Contains(out, "ProtocolStream as nullptr") {
		t.Skip("this gdcmscu ends before it sends a byte, whomever it calls (GDCM 3.0.21 as Debian 12 has it)")
	}
	if err != nil {
		t.Errorf("echo: %v\n%s", err, out)
	}
	if out, err := command(t, gdcmscu, append([]string{"--store", "-i", dir}, to...)...); err != nil {
		t.Errorf("store: %v\n%s", err, out)
	}
	if out, err := command(t, gdcmscu, "--echo", "--aetitle", "GDCM", "--call", "OTHER", host, port); err == nil && !strings.Contains(strings.ToLower(out), "reject") {
		t.Errorf("another title: %s", out)
	}
	a.stop()
	k := a.kinds()
	if n := len(a.spool.Study("1.2.826.0.99.1")); n != len(paths) || k[Echoed] != 1 || k[Stored] != len(paths) || k[Rejected] != 1 || k[Aborted] != 0 {
		t.Errorf("%d objects of %d, events %v\n%s", n, len(paths), k, a.log)
	}
}
