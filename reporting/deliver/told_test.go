package deliver

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"ichor/pipeline/state"
)

// TestOneLineForACase: the log has one line for each case and destination, whatever the number of objects and associations, and the
// same is told for the event log. A destination that is down says since when.
func TestOneLineForACase(t *testing.T) {
	bubble(t, func(t *testing.T) {
		down := &node{refuse: always(errReset)}
		r := newRig(t, map[string]*node{"A": {}, "B": down})
		var objects []string
		for i := range 2*maxBatch + 3 {
			objects = append(objects, fmt.Sprint("9.", i))
		}
		r.add("1.1", objects...)
		r.add("1.2", "x", "y")
		before := time.Now()
		r.run()
		sleep(time.Minute)
		text := r.log.String()
		for _, want := range []string{
			fmt.Sprintf("msg=delivered dest=A case=%s objects=%d", state.IDOf("1.1"), len(objects)),
			fmt.Sprintf("msg=delivered dest=A case=%s objects=2", state.IDOf("1.2")),
		} {
			if strings.Count(text, want) != 1 {
				t.Errorf("not one line %q in\n%s", want, text)
			}
		}
		if n := strings.Count(text, "msg=delivered"); n != 2 {
			t.Errorf("%d lines for two cases:\n%s", n, text)
		}
		for _, s := range r.d.Status() {
			if s.Down != (s.Name == "B") || s.Down && !s.Since.Equal(before) {
				t.Errorf("%+v, began %v", s, before)
			}
		}
		r.stop()
	})
}
