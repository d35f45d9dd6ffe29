//go:build scale

package main

import (
	"testing"
	"time"

	"ichor/scp/dcm"
)

// TestScale: two workers analyse at least 1.8 times as much as one. Node, workers, NATS server and PACS are in network namespaces; the
// networks wait 300 ms a slice in place of computing, so that the workers do not share a processor. 'make scale' runs it.
func TestScale(t *testing.T) {
	t.Setenv("ICHOR_TEST_WAIT_MS", "300")
	const studies = 4
	f := startFleet(t, 1, 2, true)
	n := f.nodes[0]
	f.nodes[1].kill(true)
	complete := 0
	took := func(workers []*member) time.Duration {
		for _, m := range f.workers {
			m.kill(true)
		}
		var sent [][]dicomFile
		for range studies {
			files := shortStudy(t)
			sent = append(sent, files)
			if err := f.sendTo(t.Context(), n, files, func(dicomFile) {}); err != nil {
				t.Fatal(err)
			}
		}
		complete += studies
		f.until("all studies are queued", func() bool { return n.said(`msg="study complete"`) == complete })
		for _, m := range workers {
			ready := m.said("msg=ready")
			m.release()
			f.until("worker is ready", func() bool { return m.said("msg=ready") > ready })
		}
		start := time.Now()
		f.until("all results are stored", func() bool {
			for _, files := range sent {
				if f.pacs.classes(files[0].StudyInstanceUID)[dcm.Comprehensive3DSRStorage] == 0 {
					return false
				}
			}
			return true
		})
		return time.Since(start)
	}
	one := took(f.workers[:1])
	two := took(f.workers)
	t.Logf("%d studies: %v with one worker, %v with two: %.2f times", studies, one.Round(time.Second/10), two.Round(time.Second/10), one.Seconds()/two.Seconds())
	if one.Seconds() < 1.8*two.Seconds() {
		t.Error("less than 1.8 times")
	}
}
