package browser

import (
	"context"
	"encoding/json"
	"fmt"
)

// Window is a page for programs that are not tests: what fails is returned.
// Its methods are for one goroutine.
type Window struct {
	page page
}

// OpenWindow opens a window with storage of its own.
func (b *Browser) OpenWindow(ctx context.Context, o PageOptions) (*Window, error) {
	if o.Width == 0 {
		o.Width, o.Height = b.options.Width, b.options.Height
	}
	if o.Scale == 0 {
		o.Scale = 1
	}
	page, err := b.driver.open(ctx, o, func(console) {})
	if err != nil {
		return nil, fmt.Errorf("open window: %w", err)
	}
	return &Window{page}, nil
}

// Goto opens a URL and waits until it has loaded.
func (w *Window) Goto(ctx context.Context, url string) error {
	if err := w.page.navigate(ctx, url); err != nil {
		return fmt.Errorf("go to page: %w", err)
	}
	return nil
}

// Eval evaluates a JavaScript expression, awaits it if it is a promise, and
// decodes its value, as JSON, into out, unless that is nil.
func (w *Window) Eval(ctx context.Context, expression string, out any) error {
	return evaluate(ctx, w.page, expression, out)
}

// Close closes the window.
func (w *Window) Close(ctx context.Context) error { return w.page.close(ctx) }

func evaluate(ctx context.Context, p page, expression string, out any) error {
	value, err := p.eval(ctx, "(async () => JSON.stringify((await ("+expression+")) ?? null))()")
	if err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal([]byte(value), out); err != nil {
		return fmt.Errorf("decode %q: %w", value, err)
	}
	return nil
}
