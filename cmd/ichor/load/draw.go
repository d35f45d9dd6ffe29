package load

import (
	"fmt"
	"strings"
	"time"
)

// The picture: a panel of latencies, one of the studies that wait, one of cores in use.
const (
	width, panel, left, gap = 860.0, 170.0, 60.0, 40.0
)

// SVG draws a report.
func (r Report) SVG() []byte {
	var b strings.Builder
	height := 3*(panel+gap) + 60
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" font-family="sans-serif" font-size="12">`+"\n", width+left+30, height)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/><text x="%g" y="18" font-size="14">ichor load: %d studies, %s, %d senders, %.0f an hour offered, %.0f completed</text>`+"\n",
		left, len(r.Studies), r.Plan.Pattern, r.Plan.Senders, r.Offered, r.Completed)
	end := time.Second
	highest, waiting, cores := 1.0, 1.0, 1.0
	for _, s := range r.Studies {
		end = max(end, s.Sent, s.Stored)
		if s.Stored > 0 {
			highest = max(highest, s.Latency().Seconds())
		}
	}
	for _, s := range r.Samples {
		waiting, cores = max(waiting, float64(s.Waiting)), max(cores, s.CPU)
	}
	x := func(d time.Duration) float64 { return left + width*min(d.Seconds()/end.Seconds(), 1) }
	axis := func(i int, title string, top float64) (y func(v float64) float64) {
		base := 40 + float64(i)*(panel+gap) + panel
		fmt.Fprintf(&b, `<text x="%g" y="%g">%s</text><path d="M%g %gV%gH%g" fill="none" stroke="#444"/>`+"\n", left+6, base-panel+12, title, left, base-panel, base, left+width)
		for _, share := range []float64{0, 0.5, 1} {
			fmt.Fprintf(&b, `<text x="%g" y="%g" text-anchor="end">%.3g</text><text x="%g" y="%g" text-anchor="middle">%.0f s</text>`+"\n",
				left-6, base-panel*share+4, top*share, left+width*share, base+16, end.Seconds()*share)
		}
		return func(v float64) float64 { return base - panel*min(v/top, 1) }
	}
	y := axis(0, "last object to last result, seconds; thick blue, thin orange; lines: p50, p99", highest)
	color := map[Kind]string{Thick: "#1f77b4", Thin: "#ff7f0e"}
	for _, s := range r.Studies {
		if s.Stored > 0 {
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", x(s.Sent), y(s.Latency().Seconds()), color[s.Kind])
		}
	}
	for k, l := range r.Latency {
		for _, v := range []float64{l.P50, l.P99} {
			fmt.Fprintf(&b, `<path d="M%g %.1fH%g" stroke="%s" stroke-dasharray="4 3"/>`+"\n", left, y(v), left+width, color[k])
		}
	}
	line := func(y func(float64) float64, value func(Sample) float64) {
		b.WriteString(`<polyline fill="none" stroke="#333" points="`)
		for _, s := range r.Samples {
			fmt.Fprintf(&b, "%.1f,%.1f ", x(s.At), y(value(s)))
		}
		b.WriteString("\"/>\n")
	}
	line(axis(1, "studies that wait for results", waiting), func(s Sample) float64 { return float64(s.Waiting) })
	line(axis(2, "cores in use", cores), func(s Sample) float64 { return s.CPU })
	b.WriteString("</svg>\n")
	return []byte(b.String())
}
