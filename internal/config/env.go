package config

import (
	"slices"
	"strings"
)

// envPrefix begins the name of every environment variable that is read.
const envPrefix = "CONSILIUM_"

// Beginnings of Problem.Where for what does not come from the file.
const (
	whereEnv  = "environment variable "
	whereFlag = "flag --"
)

// EnvName returns the environment variable of a key: CONSILIUM_HTTP_ADDRESS
// for http.address.
func EnvName(path string) string {
	return envPrefix + strings.NewReplacer(".", "_", "-", "_", "~", "_").Replace(strings.ToUpper(path))
}

// readEnv returns the settings among environment variables (NAME=value each).
// ids are the key ids known so far: a variable can't spell their case, so
// CONSILIUM_KEYS_MIS_SECRET means a key that is already called "Mis", else a
// new one called "mis".
func readEnv(environ []string, ids []string) ([]setting, Problems) {
	byName := make(map[string]string)
	for _, path := range Paths() {
		byName[EnvName(path)] = path
	}
	var settings []setting
	var problems Problems
	for _, variable := range slices.Sorted(slices.Values(environ)) {
		name, value, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, envPrefix) {
			continue
		}
		path, ok := byName[name]
		if !ok {
			path, ok = envKeyPath(name, ids)
		}
		if !ok {
			problems = append(problems, Problem{
				Where: "environment", Key: name, What: "unknown variable",
				Remedy: suggestVariable(name, byName),
			})
			continue
		}
		settings = append(settings, setting{path: path, form: formText, text: value, where: whereEnv + name})
	}
	return settings, problems
}

// envKeyPath returns the path that CONSILIUM_KEYS_<ID>_<FIELD> means.
func envKeyPath(name string, ids []string) (string, bool) {
	rest, ok := strings.CutPrefix(name, EnvName(keysSection)+"_")
	if !ok {
		return "", false
	}
	fields := keyFields()
	// The longest first: _SECRET_FILE also ends like a key called "secret" would.
	slices.SortFunc(fields, func(a, b string) int { return len(b) - len(a) })
	for _, field := range fields {
		upper, ok := strings.CutSuffix(rest, "_"+strings.ToUpper(field))
		if !ok || upper == "" {
			continue
		}
		for _, id := range ids {
			if EnvName(id) == envPrefix+upper {
				return join(keysSection, join(id, field)), true
			}
		}
		return join(keysSection, join(strings.ToLower(upper), field)), true
	}
	return "", false
}

// suggestVariable names the nearest variable. The prefix, which all share, does
// not count.
func suggestVariable(written string, byName map[string]string) string {
	var names []string
	for name := range byName {
		names = append(names, strings.TrimPrefix(name, envPrefix))
	}
	slices.Sort(names)
	if near := nearest(strings.TrimPrefix(written, envPrefix), names); near != "" {
		return "did you mean " + envPrefix + near + "?"
	}
	return "unset it"
}

// suggest names the nearest candidate, or returns otherwise.
func suggest(written string, candidates []string, otherwise string) string {
	if near := nearest(written, candidates); near != "" {
		return "did you mean " + near + "?"
	}
	return otherwise
}
