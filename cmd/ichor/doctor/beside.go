package doctor

import (
	"context"
	"fmt"
	"time"

	"ichor/reporting/web"
)

// node asks the running node for its condition. It returns false if none runs.
func (r *report) node(ctx context.Context, o Options) (running web.Node, beside bool) {
	if o.Node == nil {
		return running, false
	}
	n, err := o.Node(ctx)
	if err != nil {
		r.add(Failed, "running node", fmt.Sprintf("%s is used by a program that does not answer as ichor with this configuration: %v", o.Config.HTTP.Listen, err))
		return running, false
	}
	detail := fmt.Sprintf("version %s, process %d, running since %s", n.Version, n.PID, n.Started.Local().Format(time.DateTime))
	if n.NotReady != "" {
		r.add(Failed, "running node", detail+"; not ready: "+n.NotReady)
	} else {
		r.add(OK, "running node", detail+", ready")
	}
	if n.Configuration != o.Config.Source {
		r.add(Warning, "running node", fmt.Sprintf("it reads %s, this check %s", n.Configuration, o.Config.Source))
	}
	for _, l := range n.DICOM {
		r.add(OK, "port", l+" is held by the running node")
	}
	for _, a := range n.Alarms {
		g := Warning
		if a.Severity == web.Critical {
			g = Failed
		}
		r.add(g, a.Title(), a.Text+"; "+a.Remedy)
	}
	if n.Canary != nil && n.Canary.OK {
		r.add(OK, "self-test", fmt.Sprintf("passed at %s: %s", n.Canary.At.Local().Format(time.DateTime), n.Canary.Result))
	}
	return n, true
}
