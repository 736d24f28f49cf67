package browser

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// firefoxStart is the longest a cold Firefox may take on a loaded machine.
const firefoxStart = 60 * time.Second

// firefox drives Firefox by WebDriver BiDi over its own WebSocket: neither
// geckodriver nor Node is needed.
type firefox struct {
	rpc     *rpc
	process *process

	mu    sync.Mutex
	pages map[string]*firefoxPage // by browsing context
}

func firefoxPrefs(o Options) map[string]any {
	prefs := map[string]any{
		"remote.active-protocols": 1, "browser.shell.checkDefaultBrowser": false, "app.update.disabledForTesting": true,
		"datareporting.policy.dataSubmissionEnabled": false, "toolkit.telemetry.reportingpolicy.firstRun": false,
		"browser.startup.page": 0, "browser.aboutConfig.showWarning": false, "termsofuse.bypassNotification": true,
		"network.captive-portal-service.enabled": false, "network.connectivity-service.enabled": false,
		"browser.safebrowsing.malware.enabled": false, "browser.safebrowsing.phishing.enabled": false,
		"services.settings.server": "data:,#no-network", "extensions.update.enabled": false,
		"dom.disable_open_during_load": false, "dom.min_background_timeout_value": 10,
		"dom.min_background_timeout_value_without_budget_throttling": 10, "dom.timeout.enable_budget_timer_throttling": false,
		"widget.windows.window_occlusion_tracking.enabled": false,
		"media.autoplay.default":                           0, "media.autoplay.blocking_policy": 0,
		"media.navigator.streams.fake":                         !o.NoDevices,
		"media.navigator.permission.disabled":                  !o.DenyPermissions,
		"media.peerconnection.ice.loopback":                    true,
		"media.peerconnection.ice.obfuscate_host_addresses":    o.HideAddresses,
		"media.cubeb.force_mock_context":                       true, // a clock for sound without a sound card
		"media.gmp-manager.updateEnabled":                      false,
		"intl.accept_languages":                                o.Lang,
		"security.sandbox.content.level":                       0, // as root in a container, user namespaces may be missing
		"browser.tabs.remote.separatePrivilegedContentProcess": false,
		"dom.ipc.processPrelaunch.enabled":                     false,
		"browser.newtabpage.activity-stream.feeds.topsites":    false,
		"browser.newtabpage.activity-stream.showSponsored":     false,
		"browser.newtabpage.enabled":                           false,
		"permissions.default.camera":                           0,
		"permissions.default.microphone":                       0,
		"gfx.webrender.software":                               true,
		"layout.css.prefers-color-scheme.content-override":     1,
		"browser.sessionstore.resume_from_crash":               false,
		"toolkit.startup.max_resumed_crashes":                  -1,
		"browser.dom.window.dump.enabled":                      false,
		"media.getusermedia.window.focus_source.enabled":       false,
		"focusmanager.testmode":                                true,
	}
	if o.DenyPermissions {
		prefs["permissions.default.camera"], prefs["permissions.default.microphone"] = 2, 2
	}
	if len(o.Hosts) > 0 {
		prefs["network.dns.localDomains"] = strings.Join(o.Hosts, ",")
	}
	maps.Copy(prefs, o.Prefs)
	return prefs
}

func writePrefs(profile string, prefs map[string]any) error {
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(prefs)) {
		value, err := json.Marshal(prefs[name])
		if err != nil {
			return fmt.Errorf("encode preference %s: %w", name, err)
		}
		fmt.Fprintf(&out, "user_pref(%q, %s);\n", name, value)
	}
	return os.WriteFile(filepath.Join(profile, "user.js"), []byte(out.String()), 0o600)
}

func startFirefox(ctx context.Context, o Options, profile string) (driver, error) {
	path, err := find("firefox-esr", "firefox-esr", "firefox")
	if err != nil {
		return nil, err
	}
	if err := writePrefs(profile, firefoxPrefs(o)); err != nil {
		return nil, fmt.Errorf("write preferences: %w", err)
	}
	args := append([]string{"--headless", "--no-remote", "--remote-debugging-port=0", "--profile", profile,
		"--width", strconv.Itoa(o.Width), "--height", strconv.Itoa(o.Height)}, o.Args...)
	want := regexp.MustCompile(`WebDriver BiDi listening on (ws://\S+)`)
	p, err := startProcess(o.Netns, profile, want, nil, path, append(args, "about:blank")...)
	if err != nil {
		return nil, err
	}
	f := &firefox{process: p, pages: map[string]*firefoxPage{}}
	if err := f.connect(ctx, o.Netns); err != nil {
		return nil, errors.Join(fmt.Errorf("firefox: %w\n%s", err, p.lastWords()), f.close(ctx))
	}
	return f, nil
}

func (f *firefox) connect(ctx context.Context, netns string) error {
	var address string
	select {
	case address = <-f.process.hits:
	case <-f.process.exited:
		return errGone
	case <-time.After(firefoxStart):
		return errors.New("no WebDriver BiDi address")
	case <-ctx.Done():
		return ctx.Err()
	}
	dialer := websocket.Dialer{HandshakeTimeout: 10 * time.Second, NetDialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		return dialIn(ctx, netns, network, addr)
	}}
	conn, response, err := dialer.DialContext(ctx, address+"/session", nil)
	if err != nil {
		return fmt.Errorf("open BiDi socket: %w", err)
	}
	_ = response.Body.Close() // empty
	f.rpc = newRPC(&socket{conn: conn}, f.event)
	if err := f.rpc.call(ctx, "", "session.new", map[string]any{"capabilities": map[string]any{
		"alwaysMatch": map[string]any{"acceptInsecureCerts": false, "unhandledPromptBehavior": map[string]any{"default": "ignore"}},
	}}, nil); err != nil {
		return err
	}
	return f.rpc.call(ctx, "", "session.subscribe", map[string]any{"events": []string{"log.entryAdded"}}, nil)
}

func (f *firefox) open(ctx context.Context, o PageOptions, events func(console)) (page, error) {
	var user struct {
		ID string `json:"userContext"`
	}
	if err := f.rpc.call(ctx, "", "browser.createUserContext", empty{}, &user); err != nil {
		return nil, err
	}
	var created struct{ Context string }
	// A window, not a tab: a tab behind another one is put to sleep.
	err := f.rpc.call(ctx, "", "browsingContext.create", map[string]any{"type": "window", "userContext": user.ID}, &created)
	if err != nil {
		return nil, err
	}
	p := &firefoxPage{rpc: f.rpc, context: created.Context, user: user.ID, events: events}
	f.mu.Lock()
	f.pages[p.context] = p
	f.mu.Unlock()
	if source := o.preload(); source != "" {
		err := f.rpc.call(ctx, "", "script.addPreloadScript", map[string]any{
			"functionDeclaration": "() => {" + source + "}", "contexts": []string{p.context},
		}, nil)
		if err != nil {
			return nil, err
		}
	}
	return p, p.call(ctx, "browsingContext.setViewport", map[string]any{
		"viewport": map[string]any{"width": o.Width, "height": o.Height}, "devicePixelRatio": o.Scale,
	}, nil)
}

func (f *firefox) event(method, _ string, params json.RawMessage) {
	if method != "log.entryAdded" {
		return
	}
	var e struct {
		Type, Level, Method, Text string
		Source                    struct{ Context string }
	}
	if json.Unmarshal(params, &e) != nil {
		return
	}
	f.mu.Lock()
	p := f.pages[e.Source.Context]
	f.mu.Unlock()
	if p == nil {
		return
	}
	level := e.Method
	if e.Type == "javascript" {
		level = "log." + e.Level
		if e.Level == "error" {
			level = "uncaught"
		}
	}
	p.events(console{Level: level, Text: e.Text})
}

func (f *firefox) close(ctx context.Context) error {
	if f.rpc != nil {
		_ = f.rpc.call(ctx, "", "browser.close", empty{}, nil) // it may be dead, which is as good
	}
	err := f.process.end()
	if f.rpc != nil {
		f.rpc.close()
	}
	return err
}

type firefoxPage struct {
	rpc     *rpc
	context string
	user    string // user context: storage of its own
	events  func(console)
}

// call adds the browsing context to the parameters.
func (p *firefoxPage) call(ctx context.Context, method string, params map[string]any, out any) error {
	params["context"] = p.context
	return p.rpc.call(ctx, "", method, params, out)
}

func (p *firefoxPage) navigate(ctx context.Context, url string) error {
	return p.call(ctx, "browsingContext.navigate", map[string]any{"url": url, "wait": "complete"}, nil)
}

func (p *firefoxPage) reload(ctx context.Context) error {
	return p.call(ctx, "browsingContext.reload", map[string]any{"wait": "complete"}, nil)
}

func (p *firefoxPage) eval(ctx context.Context, expression string) (string, error) {
	var result struct {
		Type      string
		Result    struct{ Value string }
		Exception struct{ Text string } `json:"exceptionDetails"`
	}
	err := p.rpc.call(ctx, "", "script.evaluate", map[string]any{
		"expression": expression, "awaitPromise": true, "userActivation": true,
		"target": map[string]any{"context": p.context},
	}, &result)
	if err != nil {
		return "", err
	}
	if result.Type != "success" {
		return "", errors.New(result.Exception.Text)
	}
	return result.Result.Value, nil
}

func (p *firefoxPage) screenshot(ctx context.Context) ([]byte, error) {
	var result struct{ Data string }
	if err := p.call(ctx, "browsingContext.captureScreenshot", map[string]any{}, &result); err != nil {
		return nil, err
	}
	return base64.StdEncoding.DecodeString(result.Data)
}

// bidiKeys are the code points WebDriver gives to keys without a character.
func bidiKey(key string) string {
	switch key {
	case "Tab":
		return "\uE004"
	case "Enter":
		return "\uE007"
	case "Escape":
		return "\uE00C"
	case "End":
		return "\uE010"
	case "Home":
		return "\uE011"
	case "ArrowLeft":
		return "\uE012"
	case "ArrowRight":
		return "\uE014"
	}
	return key
}

func (p *firefoxPage) key(ctx context.Context, key string) error {
	value := bidiKey(key)
	return p.call(ctx, "input.performActions", map[string]any{"actions": []any{map[string]any{
		"type": "key", "id": "keyboard", "actions": []any{
			map[string]any{"type": "keyDown", "value": value}, map[string]any{"type": "keyUp", "value": value},
		},
	}}}, nil)
}

func (p *firefoxPage) offline(context.Context, bool) error {
	return errors.New("firefox cannot be taken offline by its driver")
}

func (p *firefoxPage) close(ctx context.Context) error {
	if err := p.call(ctx, "browsingContext.close", map[string]any{}, nil); err != nil {
		return err
	}
	return p.rpc.call(ctx, "", "browser.removeUserContext", map[string]any{"userContext": p.user}, nil)
}

// socket is the wire of WebDriver BiDi.
type socket struct {
	conn *websocket.Conn
	mu   sync.Mutex // of writes
}

func (s *socket) read() ([]byte, error) {
	_, data, err := s.conn.ReadMessage()
	return data, err
}

func (s *socket) write(data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn.WriteMessage(websocket.TextMessage, data)
}

func (s *socket) close() error { return s.conn.Close() }
