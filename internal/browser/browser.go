// Package browser drives real browsers from go test: Chromium by the Chrome
// DevTools Protocol and Firefox by WebDriver BiDi, both directly, without Node
// and without a driver program. A browser that is not installed is a failed
// test, which names the package to install.
//
// A Browser is one process with any number of pages; each page is a window
// with storage of its own, as if it were on another machine. Everything a test
// opens is closed with the test.
package browser

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"
)

// startPatience is the longest a browser may take to start.
const startPatience = 90 * time.Second

// Kind of a browser.
type Kind string

// Kinds.
const (
	Chromium Kind = "chromium"
	Firefox  Kind = "firefox"
)

// Options of a Browser. The zero value is a Chromium with a fake camera, of ten
// pictures a second, and microphone, allowed to use them, in English.
type Options struct {
	Kind Kind
	// DenyPermissions refuses camera and microphone.
	DenyPermissions bool
	// NoDevices has neither camera nor microphone.
	NoDevices bool
	// Video and Audio are files that the fake devices play: .y4m or .mjpeg,
	// and .wav. Chromium only.
	Video, Audio string
	// HideAddresses lets Firefox offer .local candidates only, as it does for
	// everybody else. Chromium hides them unless it may use the camera.
	HideAddresses bool
	Lang          string // of the interface and of Accept-Language; "en-US"
	Width, Height int    // of windows, in CSS pixels; 1280x800
	Netns         string // network namespace to run in
	// Trust is a PEM file of a certificate authority that is installed as an
	// administrator would. It needs certutil (libnss3-tools).
	Trust string
	// Hosts are names that lead to this machine's loopback address.
	Hosts []string
	Args  []string
	Prefs map[string]any // Firefox only
}

// driver is what differs between browsers.
type driver interface {
	open(ctx context.Context, o PageOptions, events func(console)) (page, error)
	close(ctx context.Context) error
}

// page is a window, as the driver sees it. eval awaits a promise of a string.
type page interface {
	navigate(ctx context.Context, url string) error
	reload(ctx context.Context) error
	eval(ctx context.Context, expression string) (string, error)
	screenshot(ctx context.Context) ([]byte, error)
	key(ctx context.Context, key string) error
	offline(ctx context.Context, offline bool) error
	close(ctx context.Context) error
}

// Browser is a running browser.
type Browser struct {
	Kind    Kind
	options Options
	driver  driver
}

// Start runs a browser until the test ends.
func Start(t testing.TB, o Options) *Browser {
	t.Helper()
	b, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("close browser: %v", err)
		}
	})
	return b
}

// Open runs a browser until Close: for several tests to share. It is for
// TestMain; a test calls Start.
func Open(ctx context.Context, o Options) (*Browser, error) {
	if o.Kind == "" {
		o.Kind = Chromium
	}
	if o.Lang == "" {
		o.Lang = "en-US"
	}
	if o.Width == 0 {
		o.Width, o.Height = 1280, 800
	}
	profile, err := os.MkdirTemp("", "browser-")
	if err != nil {
		return nil, fmt.Errorf("make profile: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	if err := install(ctx, o, profile); err != nil {
		return nil, errors.Join(err, os.RemoveAll(profile))
	}
	b := &Browser{Kind: o.Kind, options: o}
	switch o.Kind {
	case Chromium:
		b.driver, err = startChromium(ctx, o, profile)
	case Firefox:
		b.driver, err = startFirefox(ctx, o, profile)
	default:
		err = fmt.Errorf("unknown browser %q", o.Kind)
	}
	if err != nil {
		_ = os.RemoveAll(profile) // the first error is the one to report
		return nil, err
	}
	return b, nil
}

// Close ends the browser and removes its profile.
func (b *Browser) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), endPatience)
	defer cancel()
	return b.driver.close(ctx)
}
