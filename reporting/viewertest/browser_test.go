package viewertest

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// browser is a headless Chromium with one page, spoken to over its DevTools protocol on two pipes.
type browser struct {
	t       *testing.T
	in      io.Writer
	out     chan message
	session string
	last    int
	console strings.Builder
}

type message struct {
	ID        int             `json:"id,omitempty"`
	Method    string          `json:"method,omitempty"`
	Params    any             `json:"params,omitempty"`
	SessionID string          `json:"sessionId,omitempty"`
	Result    json.RawMessage `json:"result,omitempty"`
	Error     json.RawMessage `json:"error,omitempty"`
}

// openBrowser starts Chromium with a page of the given size; it ends with the test. WebGL is drawn by the CPU.
func openBrowser(t *testing.T, program string, width, height int) *browser {
	t.Helper()
	theirIn, ourOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ourIn, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--headless=new", "--no-sandbox", "--remote-debugging-pipe", "--no-first-run", "--disable-dev-shm-usage",
		"--disable-background-networking", "--log-level=3", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--user-data-dir="+t.TempDir(),
		fmt.Sprintf("--window-size=%d,%d", width, height))
	cmd.ExtraFiles = []*os.File{theirIn, theirOut} // 3 and 4: the pipes of --remote-debugging-pipe
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirIn.Close()
	theirOut.Close()
	b := &browser{t: t, in: ourOut, out: make(chan message, 1000)}
	go func() {
		defer close(b.out)
		for r := bufio.NewReader(ourIn); ; {
			raw, err := r.ReadBytes(0)
			if err != nil {
				return
			}
			var m message
			if json.Unmarshal(raw[:len(raw)-1], &m) == nil {
				b.out <- m
			}
		}
	}()
	t.Cleanup(func() {
		ourOut.Close() // Chromium ends when nobody steers it
		gone := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		for range b.out {
		}
		_ = cmd.Wait()
		gone.Stop()
		ourIn.Close()
		if t.Failed() {
			t.Logf("Chromium said:\n%s\nand the page:\n%s", log.String(), b.console.String())
		}
	})
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var session struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &session)
	b.session = session.SessionID
	b.call("Runtime.enable", nil, nil)
	b.call("Page.enable", nil, nil)
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}, nil)
	return b
}

// call waits for the answer to a command; out may be nil.
func (b *browser) call(method string, params, out any) {
	b.t.Helper()
	b.last++
	raw, err := json.Marshal(message{ID: b.last, Method: method, Params: params, SessionID: b.session})
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.in.Write(append(raw, 0)); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	m := b.wait(method, func(m message) bool { return m.ID == b.last })
	if m.Error != nil {
		b.t.Fatalf("%s: %s", method, m.Error)
	}
	if out != nil {
		if err := json.Unmarshal(m.Result, out); err != nil {
			b.t.Fatalf("%s: %v", method, err)
		}
	}
}

func (b *browser) wait(what string, wanted func(message) bool) message {
	b.t.Helper()
	late := time.After(5 * time.Minute)
	for {
		select {
		case m, ok := <-b.out:
			switch {
			case !ok:
				b.t.Fatalf("%s: Chromium ended", what)
			case wanted(m):
				return m
			case m.Method == "Runtime.consoleAPICalled", m.Method == "Runtime.exceptionThrown":
				raw, _ := json.Marshal(m.Params)
				fmt.Fprintf(&b.console, "%.600s\n", raw)
			}
		case <-late:
			b.t.Fatalf("%s: no answer from Chromium", what)
		}
	}
}

// open loads a page.
func (b *browser) open(url string) {
	b.t.Helper()
	b.call("Page.navigate", map[string]any{"url": url}, nil)
	b.wait(url, func(m message) bool { return m.Method == "Page.loadEventFired" })
}

// run evaluates a JavaScript function with arguments in the page, waits for what it promises, and reads that into out.
func (b *browser) run(out any, function string, args ...any) {
	b.t.Helper()
	var list []string
	for _, a := range args {
		raw, err := json.Marshal(a)
		if err != nil {
			b.t.Fatal(err)
		}
		list = append(list, string(raw))
	}
	var answer struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails json.RawMessage
	}
	b.call("Runtime.evaluate", map[string]any{"expression": function + "(" + strings.Join(list, ",") + ")",
		"awaitPromise": true, "returnByValue": true}, &answer)
	if answer.ExceptionDetails != nil {
		b.t.Fatalf("%s: %.2000s", function, answer.ExceptionDetails)
	}
	if err := json.Unmarshal(answer.Result.Value, out); err != nil {
		b.t.Fatalf("%s answers %s: %v", function, answer.Result.Value, err)
	}
}

// screenshot is the page as it is drawn, and its PNG.
func (b *browser) screenshot() (image.Image, []byte) {
	b.t.Helper()
	var shot struct{ Data string }
	b.call("Page.captureScreenshot", map[string]any{"format": "png"}, &shot)
	raw, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil {
		b.t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(raw))
	if err != nil {
		b.t.Fatal(err)
	}
	return img, raw
}
