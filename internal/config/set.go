package config

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// form is how a value was written.
type form uint8

const (
	formText    form = iota // variables and flags: text that means what the key takes
	formString              // a YAML string; the others are YAML too
	formInteger             // e.g. 8080
	formNumber              // e.g. 0.5
	formBool                // true or false
	formList                // a sequence of strings
	formSection             // a mapping
	formNull                // nothing
)

// setting is a value for a key, from one of the sources.
type setting struct {
	path  string
	form  form
	text  string   // of a scalar
	list  []string // of a list
	where string   // see Problem.Where
}

// set puts the setting into c. The error says what the key takes.
func (c *Config) set(s setting) error {
	v, done, ok := c.field(s.path)
	if !ok {
		return errors.New("unknown key")
	}
	if s.form == formNull {
		return errors.New("has no value: give one or remove the line")
	}
	if err := assign(v, s); err != nil {
		return err
	}
	done()
	return nil
}

func assign(v reflect.Value, s setting) error {
	switch v.Type() {
	case typeDuration:
		return assignDuration(v, s)
	case typeSpace:
		return assignSpace(v, s)
	}
	switch v.Kind() {
	case reflect.Slice:
		return assignList(v, s)
	case reflect.Bool:
		return assignBool(v, s)
	case reflect.Int:
		return assignInt(v, s)
	default:
		return assignString(v, s)
	}
}

func assignString(v reflect.Value, s setting) error {
	if s.form != formText && s.form != formString {
		return errors.New("want a string; put it in quotes")
	}
	v.SetString(s.text)
	return nil
}

func assignBool(v reflect.Value, s setting) error {
	if s.form == formText || s.form == formBool {
		switch s.text {
		case "true":
			v.SetBool(true)
			return nil
		case "false":
			v.SetBool(false)
			return nil
		}
	}
	return errors.New("want true or false, without quotes")
}

func assignInt(v reflect.Value, s setting) error {
	n, err := strconv.ParseInt(s.text, 10, 32)
	if err != nil || s.form != formText && s.form != formInteger {
		return errors.New("want a whole number, without quotes or unit")
	}
	v.SetInt(n)
	return nil
}

func assignDuration(v reflect.Value, s setting) error {
	if s.form != formText && s.form != formString {
		return errors.New(`want a duration with its unit, like "10s", "5m" or "30d"`)
	}
	d, err := ParseDuration(s.text)
	if err != nil {
		return err
	}
	v.SetInt(int64(d))
	return nil
}

func assignSpace(v reflect.Value, s setting) error {
	if s.form != formText && s.form != formString && s.form != formInteger {
		return errSpace
	}
	space, err := parseSpace(s.text)
	if err != nil {
		return err
	}
	v.Set(reflect.ValueOf(space))
	return nil
}

func assignList(v reflect.Value, s setting) error {
	switch s.form {
	case formList:
		v.Set(reflect.ValueOf(s.list))
	case formText:
		list := []string{}
		for item := range strings.SplitSeq(s.text, ",") {
			if item = strings.TrimSpace(item); item != "" {
				list = append(list, item)
			}
		}
		v.Set(reflect.ValueOf(list))
	default:
		return errors.New("want a list of strings, like [one, two]")
	}
	return nil
}

// valueText returns a value as a variable or a flag would give it; secrets are
// hidden.
func valueText(v reflect.Value) string {
	switch value := v.Interface().(type) {
	case []string:
		return strings.Join(value, ",")
	default:
		if v.Type() == typeDuration {
			return FormatDuration(time.Duration(v.Int()))
		}
		return fmt.Sprint(value)
	}
}
