package browser

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
)

// chromium drives Chromium by the Chrome DevTools Protocol over a pipe: no
// port is opened, and network namespaces do not matter.
type chromium struct {
	rpc     *rpc
	process *process

	mu    sync.Mutex
	pages map[string]*chromiumPage // by session
}

func chromiumArgs(o Options, profile string) []string {
	args := []string{
		"--headless=new", "--remote-debugging-pipe", "--user-data-dir=" + profile,
		fmt.Sprintf("--window-size=%d,%d", o.Width, o.Height),
		"--no-first-run", "--no-default-browser-check", "--password-store=basic", "--use-mock-keychain",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
		"--disable-default-apps", "--disable-breakpad", "--disable-dev-shm-usage", "--metrics-recording-only",
		// Several windows, of which none may be put to sleep as hidden.
		"--disable-background-timer-throttling", "--disable-backgrounding-occluded-windows", "--disable-renderer-backgrounding",
		"--disable-features=Translate,OptimizationHints,MediaRouter,CalculateNativeWinOcclusion",
		"--autoplay-policy=no-user-gesture-required", "--mute-audio",
		"--allow-loopback-in-peer-connection",
		"--lang=" + o.Lang, "--accept-lang=" + o.Lang,
	}
	if os.Geteuid() == 0 {
		args = append(args, "--no-sandbox")
	}
	switch {
	case o.NoDevices:
		args = append(args, "--use-fake-device-for-media-stream=device-count=0", "--use-fake-ui-for-media-stream")
	case o.DenyPermissions:
		args = append(args, "--use-fake-device-for-media-stream", "--deny-permission-prompts")
	default:
		// Half of Chromium's own rate: pictures are what costs tests most.
		args = append(args, "--use-fake-device-for-media-stream=fps=10", "--use-fake-ui-for-media-stream")
	}
	var rules []string
	for _, host := range o.Hosts {
		rules = append(rules, "MAP "+host+" 127.0.0.1")
	}
	if len(rules) > 0 {
		args = append(args, "--host-resolver-rules="+strings.Join(rules, ","))
	}
	if o.Video != "" {
		args = append(args, "--use-file-for-fake-video-capture="+o.Video)
	}
	if o.Audio != "" {
		args = append(args, "--use-file-for-fake-audio-capture="+o.Audio)
	}
	return append(append(args, o.Args...), "about:blank")
}

func startChromium(ctx context.Context, o Options, profile string) (driver, error) {
	path, err := find("chromium", "chromium", "chromium-browser", "google-chrome")
	if err != nil {
		return nil, err
	}
	// The browser reads requests from descriptor 3 and writes to descriptor 4.
	requests, toBrowser, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make pipe: %w", err)
	}
	fromBrowser, responses, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make pipe: %w", err), requests.Close(), toBrowser.Close())
	}
	p, err := startProcess(o.Netns, profile, nil, []*os.File{requests, responses}, path, chromiumArgs(o, profile)...)
	err = errors.Join(err, requests.Close(), responses.Close())
	if err != nil {
		return nil, errors.Join(err, toBrowser.Close(), fromBrowser.Close())
	}
	c := &chromium{process: p, pages: map[string]*chromiumPage{}}
	c.rpc = newRPC(&pipe{in: bufio.NewReaderSize(fromBrowser, 1<<16), from: fromBrowser, to: toBrowser}, c.event)
	if err := c.rpc.call(ctx, "", "Browser.getVersion", empty{}, nil); err != nil {
		return nil, errors.Join(fmt.Errorf("chromium does not answer: %w\n%s", err, p.lastWords()), c.close(ctx))
	}
	return c, nil
}

type empty struct{}

func (c *chromium) open(ctx context.Context, o PageOptions, events func(console)) (page, error) {
	var group struct {
		ID string `json:"browserContextId"`
	}
	if err := c.rpc.call(ctx, "", "Target.createBrowserContext", empty{}, &group); err != nil {
		return nil, err
	}
	var target struct {
		ID string `json:"targetId"`
	}
	err := c.rpc.call(ctx, "", "Target.createTarget", map[string]any{
		"url": "about:blank", "browserContextId": group.ID, "newWindow": true, "width": o.Width, "height": o.Height,
	}, &target)
	if err != nil {
		return nil, err
	}
	var attached struct {
		Session string `json:"sessionId"`
	}
	if err := c.rpc.call(ctx, "", "Target.attachToTarget", map[string]any{"targetId": target.ID, "flatten": true}, &attached); err != nil {
		return nil, err
	}
	p := &chromiumPage{rpc: c.rpc, session: attached.Session, target: target.ID, group: group.ID, events: events, loaded: make(chan string, 16)}
	c.mu.Lock()
	c.pages[p.session] = p
	c.mu.Unlock()
	for _, domain := range []string{"Page.enable", "Runtime.enable", "Log.enable"} {
		if err := p.call(ctx, domain, empty{}, nil); err != nil {
			return nil, err
		}
	}
	if err := p.call(ctx, "Page.setLifecycleEventsEnabled", map[string]any{"enabled": true}, nil); err != nil {
		return nil, err
	}
	if source := o.preload(); source != "" {
		if err := p.call(ctx, "Page.addScriptToEvaluateOnNewDocument", map[string]any{"source": source}, nil); err != nil {
			return nil, err
		}
	}
	return p, p.call(ctx, "Emulation.setDeviceMetricsOverride", map[string]any{
		"width": o.Width, "height": o.Height, "deviceScaleFactor": o.Scale, "mobile": o.Mobile,
	}, nil)
}

func (c *chromium) event(method, session string, params json.RawMessage) {
	c.mu.Lock()
	p := c.pages[session]
	c.mu.Unlock()
	if p != nil {
		p.event(method, params)
	}
}

func (c *chromium) close(ctx context.Context) error {
	_ = c.rpc.call(ctx, "", "Browser.close", empty{}, nil) // it may be dead, which is as good
	err := c.process.end()
	c.rpc.close()
	return err
}

type chromiumPage struct {
	rpc     *rpc
	session string
	target  string
	group   string // browser context: storage and permissions of its own
	events  func(console)
	loaded  chan string // loader ids of documents that have loaded
}

func (p *chromiumPage) call(ctx context.Context, method string, params, out any) error {
	return p.rpc.call(ctx, p.session, method, params, out)
}

func (p *chromiumPage) navigate(ctx context.Context, url string) error {
	var result struct {
		Loader string `json:"loaderId"`
		Error  string `json:"errorText"`
	}
	if err := p.call(ctx, "Page.navigate", map[string]any{"url": url}, &result); err != nil {
		return err
	}
	if result.Error != "" {
		return fmt.Errorf("navigate to %s: %s", url, result.Error)
	}
	if result.Loader == "" {
		return nil // only the fragment has changed
	}
	return p.waitLoaded(ctx, result.Loader)
}

// waitLoaded waits for the load event of a document; "" is the next one.
func (p *chromiumPage) waitLoaded(ctx context.Context, loader string) error {
	for {
		select {
		case got := <-p.loaded:
			if loader == "" || got == loader {
				return nil
			}
		case <-p.rpc.done:
			return errGone
		case <-ctx.Done():
			return fmt.Errorf("wait for the page to load: %w", ctx.Err())
		}
	}
}

func (p *chromiumPage) reload(ctx context.Context) error {
	for len(p.loaded) > 0 {
		<-p.loaded
	}
	if err := p.call(ctx, "Page.reload", empty{}, nil); err != nil {
		return err
	}
	return p.waitLoaded(ctx, "")
}

func (p *chromiumPage) eval(ctx context.Context, expression string) (string, error) {
	var result struct {
		Result struct {
			Value json.RawMessage `json:"value"` // a string, but for an exception
		} `json:"result"`
		Exception *exceptionDetails `json:"exceptionDetails"`
	}
	err := p.call(ctx, "Runtime.evaluate", map[string]any{
		"expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true,
	}, &result)
	if err != nil {
		return "", err
	}
	if result.Exception != nil {
		return "", errors.New(result.Exception.String())
	}
	var value string
	if err := json.Unmarshal(result.Result.Value, &value); err != nil {
		return "", fmt.Errorf("decode value: %w", err)
	}
	return value, nil
}

func (p *chromiumPage) screenshot(ctx context.Context) ([]byte, error) {
	var result struct {
		Data string `json:"data"`
	}
	if err := p.call(ctx, "Page.captureScreenshot", map[string]any{"format": "png"}, &result); err != nil {
		return nil, err
	}
	return base64.StdEncoding.DecodeString(result.Data)
}

func (p *chromiumPage) key(ctx context.Context, key string) error {
	for _, kind := range []string{"keyDown", "keyUp"} {
		params := map[string]any{"type": kind, "key": key}
		if len(key) == 1 && kind == "keyDown" {
			params["text"] = key
		}
		if code, ok := keyCode(key); ok {
			params["windowsVirtualKeyCode"], params["code"] = code, key
			if key == "Enter" && kind == "keyDown" {
				params["text"] = "\r"
			}
		}
		if err := p.call(ctx, "Input.dispatchKeyEvent", params, nil); err != nil {
			return err
		}
	}
	return nil
}

// keyCode is the virtual key code of a key that has no character.
func keyCode(key string) (int, bool) {
	switch key {
	case "Tab":
		return 9, true
	case "Enter":
		return 13, true
	case "Escape":
		return 27, true
	case "End":
		return 35, true
	case "Home":
		return 36, true
	case "ArrowLeft":
		return 37, true
	case "ArrowRight":
		return 39, true
	}
	return 0, false
}

func (p *chromiumPage) offline(ctx context.Context, offline bool) error {
	if err := p.call(ctx, "Network.enable", empty{}, nil); err != nil {
		return err
	}
	return p.call(ctx, "Network.emulateNetworkConditions", map[string]any{
		"offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1,
	}, nil)
}

func (p *chromiumPage) close(ctx context.Context) error {
	// The page goes with its context.
	return p.rpc.call(ctx, "", "Target.disposeBrowserContext", map[string]any{"browserContextId": p.group}, nil)
}

// exceptionDetails is Runtime.ExceptionDetails.
type exceptionDetails struct {
	Text      string `json:"text"`
	Exception struct {
		Description string `json:"description"`
		Value       any    `json:"value"`
	} `json:"exception"`
}

func (e *exceptionDetails) String() string {
	if e.Exception.Description != "" {
		return e.Exception.Description
	}
	if e.Exception.Value != nil {
		return fmt.Sprint(e.Text, " ", e.Exception.Value)
	}
	return e.Text
}

func (p *chromiumPage) event(method string, params json.RawMessage) {
	switch method {
	case "Page.lifecycleEvent":
		var e struct{ Name, LoaderID, FrameID string }
		if json.Unmarshal(params, &e) == nil && e.Name == "load" && e.FrameID == p.target {
			select {
			case p.loaded <- e.LoaderID:
			default: // nobody waits for so many
			}
		}
	case "Runtime.exceptionThrown":
		var e struct{ ExceptionDetails exceptionDetails }
		if json.Unmarshal(params, &e) == nil {
			p.events(console{Level: "uncaught", Text: e.ExceptionDetails.String()})
		}
	case "Runtime.consoleAPICalled":
		var e struct {
			Type string
			Args []struct {
				Value       any
				Description string
			}
		}
		if json.Unmarshal(params, &e) != nil {
			return
		}
		var text strings.Builder
		for _, a := range e.Args {
			if a.Value != nil {
				text.WriteString(fmt.Sprint(a.Value, " "))
			} else {
				text.WriteString(a.Description + " ")
			}
		}
		p.events(console{Level: e.Type, Text: text.String()})
	case "Log.entryAdded":
		var e struct {
			Entry struct{ Source, Level, Text, URL string }
		}
		if json.Unmarshal(params, &e) == nil {
			p.events(console{Level: "log." + e.Entry.Level, Text: e.Entry.Source + ": " + e.Entry.Text + " " + e.Entry.URL})
		}
	}
}

// pipe is the wire of --remote-debugging-pipe: messages end with a zero byte.
type pipe struct {
	in   *bufio.Reader
	from *os.File
	to   *os.File
	mu   sync.Mutex // of writes
}

func (p *pipe) read() ([]byte, error) {
	data, err := p.in.ReadBytes(0)
	if err != nil {
		return nil, err
	}
	return data[:len(data)-1], nil
}

func (p *pipe) write(data []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err := p.to.Write(append(data, 0))
	return err
}

func (p *pipe) close() error { return errors.Join(p.to.Close(), p.from.Close()) }
