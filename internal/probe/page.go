package probe

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"consilium/internal/event"
)

// maxBody bounds what is read of an answer.
const maxBody = 1 << 20

// page asks whether a consilium answers over HTTP. A login page of a hotel
// answers too, so that the status alone says nothing.
func (p *prober) page(ctx context.Context) bool {
	begun := time.Now()
	ctx, cancel := p.step(ctx)
	defer cancel()
	response, body, err := p.ask(ctx, http.MethodGet, "/healthz", "", nil)
	if err != nil {
		p.fail(CheckHTTP, begun, event.SignalLost, "no answer by HTTP: "+cause(err))
		return false
	}
	var health struct {
		Status string `json:"status"`
	}
	if response.StatusCode != http.StatusOK || json.Unmarshal(body, &health) != nil || health.Status != "ok" {
		p.fail(CheckHTTP, begun, event.SignalLost,
			fmt.Sprintf("/healthz answers %s and no consilium is behind it; check the URL, and that no login page is in between", response.Status))
		return false
	}
	p.ok(CheckHTTP, begun, "/healthz answers")
	if date, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		// To the second; the socket measures better.
		p.noteClock(begun, time.Until(date)+time.Second/2)
	}
	return true
}

// redirect looks whether who types the name without https:// gets there. It is
// nothing that a call needs.
func (p *prober) redirect(ctx context.Context) {
	if !p.secure() {
		p.skip(CheckRedirect, "the URL is plain HTTP")
		return
	}
	begun := time.Now()
	ctx, cancel := p.step(ctx)
	defer cancel()
	plain := &url.URL{Scheme: "http", Host: p.base.Host, Path: "/"}
	port := p.port
	if p.base.Port() == "" {
		port = "80"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, plain.String(), http.NoBody)
	if err != nil {
		p.fail(CheckRedirect, begun, "", err.Error())
		return
	}
	response, err := p.client.Do(request)
	if err != nil {
		p.fail(CheckRedirect, begun, "", fmt.Sprintf("nobody redirects from http:// (port %s: %s); people must type https://", port, cause(err)))
		return
	}
	_ = response.Body.Close() // of no interest
	if target := response.Header.Get("Location"); !strings.HasPrefix(target, "https://") {
		p.fail(CheckRedirect, begun, "", fmt.Sprintf("plain HTTP on port %s answers %s and leads not to https://", port, response.Status))
		return
	}
	p.ok(CheckRedirect, begun, fmt.Sprintf("from http:// on port %s to https://", port))
}

// ask sends a request and reads the answer. A token goes nowhere but to the
// server whose certificate was judged.
func (p *prober) ask(ctx context.Context, method, path, token string, body any) (*http.Response, []byte, error) {
	var content io.Reader = http.NoBody
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, nil, fmt.Errorf("encode the request: %w", err)
		}
		content = strings.NewReader(string(data))
	}
	request, err := http.NewRequestWithContext(ctx, method, p.base.String()+path, content)
	if err != nil {
		return nil, nil, fmt.Errorf("make request: %w", err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := p.client.Do(request)
	if err != nil {
		return nil, nil, err // it names method and URL
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return nil, nil, fmt.Errorf("read the answer: %w", err)
	}
	return response, answer, nil
}
