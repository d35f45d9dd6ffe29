package node

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"ichor/scp/spool"
)

// TestDiskAlarms: no advice is given twice, and while objects are refused no alarm says that they are received.
func TestDiskAlarms(t *testing.T) {
	t.Parallel()
	full := fmt.Errorf("5 MiB free, 1024 MiB are kept in reserve: %w; free disk space", spool.ErrNoSpace)
	readOnly := fmt.Errorf("trying the disk: %w; make the file system writable again", spool.ErrUnwritable)
	queue := errors.New("queue folder: no space left on device; free disk space or repair the disk; nothing is lost, studies wait meanwhile")
	for _, c := range []struct {
		refused, queue error
		remedies       []string
	}{
		{full, nil, []string{"free disk space, or give the state folder a larger disk; reception resumes by itself"}},
		{readOnly, nil, []string{"make the file system writable again; reception resumes by itself"}},
		{full, queue, []string{"free disk space, or give the state folder a larger disk; reception resumes by itself",
			"free disk space or repair the disk; nothing is lost, studies wait meanwhile"}},
		{nil, queue, []string{"free disk space or repair the disk; nothing is lost, studies wait meanwhile"}},
		{nil, errors.New("no server"), []string{"look in the log for the cause; studies are received and will be analysed later"}},
		{readOnly, errors.New("no server"), []string{"make the file system writable again; reception resumes by itself",
			"look in the log for the cause; studies that were received before wait"}},
		{nil, nil, nil},
	} {
		list := diskAlarms(c.refused, c.queue)
		if len(list) != len(c.remedies) {
			t.Fatalf("%v, %v: %+v", c.refused, c.queue, list)
		}
		for i, a := range list {
			if said := a.Text + "; " + a.Remedy; a.Remedy != c.remedies[i] || strings.Count(said, "free disk space") > 1 || strings.Contains(a.Text, ";") {
				t.Errorf("%v, %v: %s", c.refused, c.queue, said)
			}
		}
	}
}
