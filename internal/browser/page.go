package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long a step may take, unless the test says otherwise: long
// enough for a loaded machine, since a step that works ends at once.
const patience = 30 * time.Second

// PageOptions of a window. Zero values are those of the browser.
type PageOptions struct {
	Width, Height int     // CSS pixels
	Scale         float64 // device pixels per CSS pixel; 1
	Mobile        bool    // Chromium only
	// Peers keeps the page's PeerConnections in window.__peers, for Stats.
	Peers bool
	// Relay lets the page's PeerConnections use nothing but TURN over "udp",
	// "tcp" or "tls", or, with "none", nothing at all. It implies Peers.
	Relay string
	// Script is run in each document before the page's own.
	Script string
	// AllowErrors does not fail the test for uncaught errors in the page.
	AllowErrors bool
}

// console is an entry of the page's console. Level is that of the console
// API, "uncaught" for an error nobody caught, or "log." and a level for what
// the browser itself says.
type console struct{ Level, Text string }

// preload is what runs before the page's own scripts; "" is nothing.
func (o PageOptions) preload() string {
	if !o.Peers && o.Relay == "" {
		return o.Script
	}
	return peersScript(o.Relay) + o.Script
}

// Page is a window. Its methods fail the test; they are for the test's own
// goroutine.
type Page struct {
	t    testing.TB
	page page
	name string

	mu      sync.Mutex
	entries []console
}

// NewPage opens a window with storage of its own; it is closed with the test.
// name shows in messages.
func (b *Browser) NewPage(t testing.TB, name string, o PageOptions) *Page {
	t.Helper()
	if o.Width == 0 {
		o.Width, o.Height = b.options.Width, b.options.Height
	}
	if o.Scale == 0 {
		o.Scale = 1
	}
	p := &Page{t: t, name: name}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var err error
	if p.page, err = b.driver.open(ctx, o, p.record); err != nil {
		t.Fatalf("%s: open window: %v", name, err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if t.Failed() {
			p.keepPicture(ctx)
		}
		if err := p.page.close(ctx); err != nil {
			t.Errorf("%s: close window: %v", name, err)
		}
		if t.Failed() {
			t.Logf("%s: console:\n%s", name, p.Console())
		}
		if errs := p.Uncaught(); len(errs) > 0 && !o.AllowErrors {
			t.Errorf("%s: uncaught errors:\n%s", name, strings.Join(errs, "\n"))
		}
	})
	return p
}

// keepPicture leaves a picture of the page with the test's artifacts.
func (p *Page) keepPicture(ctx context.Context) {
	path := filepath.Join(p.t.ArtifactDir(), p.name+"-failed.png")
	data, err := p.page.screenshot(ctx)
	if err == nil {
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		p.t.Logf("%s: no picture of the failure: %v", p.name, err)
	}
}

func (p *Page) record(e console) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.entries = append(p.entries, e)
}

// Console returns what the page wrote to its console, an entry a line.
func (p *Page) Console() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out strings.Builder
	for _, e := range p.entries {
		fmt.Fprintf(&out, "%s: %s\n", e.Level, e.Text)
	}
	return out.String()
}

// Uncaught returns the errors that nobody caught in the page.
func (p *Page) Uncaught() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []string
	for _, e := range p.entries {
		if e.Level == "uncaught" {
			errs = append(errs, e.Text)
		}
	}
	return errs
}

// step runs f with a deadline and fails the test if it fails.
func (p *Page) step(what string, limit time.Duration, f func(context.Context) error) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), limit)
	defer cancel()
	if err := f(ctx); err != nil {
		p.t.Fatalf("%s: %s: %v", p.name, what, err)
	}
}

// Goto opens a URL and waits until it has loaded.
func (p *Page) Goto(url string) {
	p.t.Helper()
	p.step("go to "+url, patience, func(ctx context.Context) error { return p.page.navigate(ctx, url) })
}

// Reload reloads the page and waits until it has loaded.
func (p *Page) Reload() {
	p.t.Helper()
	p.step("reload", patience, p.page.reload)
}

// Eval evaluates a JavaScript expression, awaits it if it is a promise, and
// decodes its value, as JSON, into out, unless that is nil.
func (p *Page) Eval(expression string, out any) {
	p.t.Helper()
	p.step("evaluate "+short(expression), patience, func(ctx context.Context) error { return p.eval(ctx, expression, out) })
}

// TryEval is Eval that returns its error.
func (p *Page) TryEval(expression string, out any) error {
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	return p.eval(ctx, expression, out)
}

func (p *Page) eval(ctx context.Context, expression string, out any) error {
	return evaluate(ctx, p.page, expression, out)
}

// WaitFor returns when a JavaScript expression, which may be a promise, is
// true. The page itself looks again and again.
func (p *Page) WaitFor(what, expression string) {
	p.t.Helper()
	p.WaitForWithin(what, expression, patience)
}

// WaitForWithin is WaitFor with a limit of its own.
func (p *Page) WaitForWithin(what, expression string, limit time.Duration) {
	p.t.Helper()
	p.step("wait for "+what, limit+5*time.Second, func(ctx context.Context) error {
		script := fmt.Sprintf(`(async () => {
			const end = performance.now() + %d;
			let last;
			for (;;) {
				last = undefined;
				try { if (await (%s)) return {ok: true}; } catch (e) { last = String(e); }
				if (performance.now() > end) return {ok: false, last};
				await new Promise(r => setTimeout(r, 20));
			}
		})()`, limit.Milliseconds(), expression)
		var result struct {
			OK   bool
			Last string
		}
		if err := p.eval(ctx, script, &result); err != nil {
			return err
		}
		if !result.OK {
			return fmt.Errorf("not within %v: %s %s", limit, short(expression), result.Last)
		}
		return nil
	})
}

// short leaves the end of a long script, which says what was wanted of it.
func short(expression string) string {
	if len(expression) <= 200 {
		return expression
	}
	return "..." + expression[len(expression)-200:]
}

// element is the JavaScript for the element with a data-testid.
func element(testid string) string {
	quoted, _ := json.Marshal(testid) // a string always encodes
	return fmt.Sprintf(`document.querySelector('[data-testid=' + CSS.escape(%s) + ']')`, quoted)
}

// visible is the JavaScript that says whether it can be seen.
func visible(testid string) string { return element(testid) + "?.checkVisibility()" }

// WaitVisible returns when the element with a data-testid can be seen.
func (p *Page) WaitVisible(testid string) {
	p.t.Helper()
	p.WaitFor(testid, visible(testid))
}

// WaitGone returns when it cannot be seen.
func (p *Page) WaitGone(testid string) {
	p.t.Helper()
	p.WaitFor(testid+" to go", "!"+visible(testid))
}

// Click waits until the element with a data-testid can be seen and is enabled,
// and clicks it.
func (p *Page) Click(testid string) {
	p.t.Helper()
	p.WaitFor(testid, visible(testid)+" && !"+element(testid)+".disabled")
	p.Eval(element(testid)+".click()", nil)
}

// Text returns the text of the element with a data-testid.
func (p *Page) Text(testid string) string {
	p.t.Helper()
	var text string
	p.Eval(element(testid)+"?.textContent.trim()", &text)
	return text
}

// Key presses and releases a key: a character, Tab, Enter or Escape.
func (p *Page) Key(key string) {
	p.t.Helper()
	p.step("press "+key, patience, func(ctx context.Context) error { return p.page.key(ctx, key) })
}

// Offline takes the page's HTTP and WebSocket off the network and back. It
// does not touch WebRTC, nor sockets that are open. Chromium only.
func (p *Page) Offline(offline bool) {
	p.t.Helper()
	p.step("change network", patience, func(ctx context.Context) error { return p.page.offline(ctx, offline) })
}

// Screenshot writes the window's picture to a PNG file.
func (p *Page) Screenshot(path string) {
	p.t.Helper()
	p.step("screenshot", patience, func(ctx context.Context) error {
		data, err := p.page.screenshot(ctx)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("make directory: %w", err)
		}
		return os.WriteFile(path, data, 0o644)
	})
}
