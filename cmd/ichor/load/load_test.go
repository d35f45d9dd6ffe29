package load

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"
)

func plan(edit func(*Plan)) Plan {
	p := Plan{Pattern: Poisson, Studies: 2000, Rate: 60, Size: 6, Speed: 1, Senders: 3, Seed: 7}
	if edit != nil {
		edit(&p)
	}
	return p
}

func TestArrivals(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]Plan{
		"poisson": plan(nil),
		"fast":    plan(func(p *Plan) { p.Speed = 24 }),
		"burst":   plan(func(p *Plan) { p.Pattern = Burst }),
		"day":     plan(func(p *Plan) { p.Pattern = Day; p.Rate = 2000.0 / 24 / 10 }), // ten days
		"thin":    plan(func(p *Plan) { p.Thin = 0.2 }),
	} {
		list := p.Arrivals()
		if !reflect.DeepEqual(list, p.Arrivals()) {
			t.Errorf("%s: the same plan gives other arrivals", name)
		}
		thin, senders := 0, map[int]int{}
		for i, a := range list {
			if i > 0 && a.At < list[i-1].At {
				t.Fatalf("%s: arrival %d before the one before it", name, i)
			}
			senders[a.Sender]++
			if a.Kind == Thin {
				thin++
			}
		}
		hours := list[len(list)-1].At.Hours() * p.Speed
		if got := float64(p.Studies) / hours; math.Abs(got-p.Rate) > 0.1*p.Rate {
			t.Errorf("%s: %.1f an hour, want %.1f", name, got, p.Rate)
		}
		if want := int(p.Thin * float64(p.Studies)); math.Abs(float64(thin-want)) > 1 {
			t.Errorf("%s: %d thin studies, want %d", name, thin, want)
		}
		if len(senders) != 3 || senders[0]-senders[2] > 1 {
			t.Errorf("%s: studies by sender %v", name, senders)
		}
	}
	burst := plan(func(p *Plan) { p.Pattern, p.Studies = Burst, 12 }).Arrivals()
	if burst[0].At != burst[5].At || burst[5].At == burst[6].At {
		t.Errorf("bursts of six: %v", burst)
	}
	byHour := map[int]int{}
	for _, a := range plan(func(p *Plan) { p.Pattern, p.Studies = Day, 20000 }).Arrivals() {
		byHour[int(a.At.Hours())%24]++
	}
	if byHour[15] < 3*byHour[3] {
		t.Errorf("%d arrivals at 15 h, %d at 3 h; want more than three times as many", byHour[15], byHour[3])
	}
}

func TestPlanCheck(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*Plan){
		"pattern": func(p *Plan) { p.Pattern = "tide" }, "studies": func(p *Plan) { p.Studies = 0 }, "rate": func(p *Plan) { p.Rate = 0 },
		"no number": func(p *Plan) { p.Rate = math.NaN() }, "thin": func(p *Plan) { p.Thin = 1.1 }, "speed": func(p *Plan) { p.Speed = -1 },
		"senders": func(p *Plan) { p.Senders = 0 }, "burst": func(p *Plan) { p.Size = 0 },
	} {
		if err := plan(edit).Check(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := plan(nil).Check(); err != nil {
		t.Error(err)
	}
}

// TestSimulate compares the simulation with queueing theory: constant service, Poisson arrivals (M/D/1). The mean wait is
// rho/(2(1-rho)) times the service time (Pollaczek-Khinchine).
func TestSimulate(t *testing.T) {
	t.Parallel()
	for _, rho := range []float64{0.3, 0.6, 0.8} {
		const seconds = 10.0
		p := plan(func(p *Plan) { p.Studies, p.Rate = 200_000, rho*3600/seconds })
		s := Service{Workers: 1, Analyse: map[Kind]time.Duration{Thick: seconds * time.Second}}
		sum := 0.0
		for _, l := range Simulate(p.Arrivals(), s) {
			sum += l.Seconds() - seconds
		}
		got, want := sum/float64(p.Studies), rho/(2*(1-rho))*seconds
		if math.Abs(got-want) > 0.05*want {
			t.Errorf("load %g: mean wait %.2f s, want %.2f", rho, got, want)
		}
	}
}

func TestSimulateQuiet(t *testing.T) {
	t.Parallel()
	second := func(n ...float64) (list []time.Duration) {
		for _, s := range n {
			list = append(list, time.Duration(s*float64(time.Second)))
		}
		return list
	}
	s := Service{Workers: 1, Quiet: 3 * time.Second, Ripe: time.Second, Analyse: map[Kind]time.Duration{Thick: time.Second, Thin: 4 * time.Second},
		Finish: map[Kind]time.Duration{Thick: time.Second / 2}}
	arrivals := []Arrival{{0, Thick, 0}, {0, Thin, 1}, {0, Thick, 2}}
	if got, want := Simulate(arrivals, s), second(3.5, 6, 7.5); !reflect.DeepEqual(got, want) {
		t.Errorf("early analysis: %v, want %v", got, want)
	}
	s.Ripe = time.Hour
	if got, want := Simulate(arrivals, s), second(4.5, 8, 9.5); !reflect.DeepEqual(got, want) {
		t.Errorf("no early analysis: %v, want %v", got, want)
	}
	s.Workers = 3
	if got, want := Simulate(arrivals, s), second(4.5, 7, 4.5); !reflect.DeepEqual(got, want) {
		t.Errorf("three workers: %v, want %v", got, want)
	}
}

func report() Report {
	r := Report{Plan: plan(nil), Samples: []Sample{{time.Second, 2, 100, 1}, {3 * time.Second, 0.5, 300, 2}, {4 * time.Second, 0, 200, 0}}}
	for i := range 10 {
		sent := time.Duration(i) * time.Second
		r.Studies = append(r.Studies, Study{Sent: sent, Stored: sent + time.Duration(i+1)*100*time.Millisecond, Arrival: Arrival{Kind: Thick}})
	}
	r.Studies = append(r.Studies, Study{Sent: 10 * time.Second, Again: 1, Arrival: Arrival{Kind: Thin}})
	return r
}

func TestReport(t *testing.T) {
	t.Parallel()
	r := report()
	r.sum()
	if got, want := r.Latency[Thick], (Spread{10, 0.5, 0.9, 1, 1}); got != want {
		t.Errorf("latency %+v, want %+v", got, want)
	}
	if r.Lost != 1 || r.Again != 1 || !r.Saturated || r.Waiting != 2 || r.MostRSS != 300 || r.RestRSS != 200 {
		t.Errorf("%+v", r)
	}
	if math.Abs(r.CPUSeconds*11-3) > 1e-9 || math.Abs(r.Cores-0.75) > 1e-9 {
		t.Errorf("%g s of processor time a study, %g cores", r.CPUSeconds, r.Cores)
	}
	raw, err := json.Marshal(r)
	if err != nil || !strings.Contains(string(raw), `"p50":0.5`) {
		t.Errorf("%s, error %v", raw, err)
	}
	r.Studies = r.Studies[:10]
	if r.sum(); r.Saturated != false && r.Lost == 0 {
		t.Error("saturated although results come as fast as studies")
	}
}

func TestSVG(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]Report{"full": report(), "empty": {}} {
		r.sum()
		d := xml.NewDecoder(strings.NewReader(string(r.SVG())))
		elements := map[string]int{}
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if e, ok := token.(xml.StartElement); ok {
				elements[e.Name.Local]++
			}
		}
		if elements["svg"] != 1 || elements["polyline"] != 2 || elements["circle"] != min(len(r.Studies), 10) {
			t.Errorf("%s: %v", name, elements)
		}
	}
}

// TestUse reads processor time and memory of this very process.
func TestUse(t *testing.T) {
	t.Parallel()
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for begun := time.Now(); time.Since(begun) < 50*time.Millisecond; { // some processor time
	}
	cpu, rss := (&Node{cmd: &exec.Cmd{Process: self}}).Use()
	if cpu <= 0 || cpu > 3600 || rss < 1<<20 || rss > 1<<34 {
		t.Errorf("%g s, %d bytes", cpu, rss)
	}
}
