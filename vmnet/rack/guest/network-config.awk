# NoCloud's network-config, version 2, to lines "path<tab>value": ethernets/eth1/addresses/0<tab>172.17.33.250/24.
# The YAML that people write there: block maps and lists, flow collections on one line, quotes, comments; and JSON.
function blank() { while (substr(text, at, 1) ~ /[ \t]/) at++; return substr(text, at, 1) }

function scalar(stop,    quote, c, word) {
	quote = blank()
	if (quote == "\"" || quote == "'") {
		for (at++; (c = substr(text, at, 1)) != quote && c != ""; at++) word = word c
		at++
		return word
	}
	for (; (c = substr(text, at, 1)) != "" && !index(stop, c); at++) word = word c
	sub(/[ \t]+$/, "", word)
	return word
}

function leaf(path, value) {
	sub(/^\//, "", path)
	sub(/^network\//, "", path)
	print path "\t" value
}

function node(path, stop,    c, n, key) {
	c = blank()
	if (c == "[") {
		at++
		for (n = 0; (c = blank()) != "]" && c != ""; n++) {
			node(path "/" n, ",]}")
			if (blank() == ",") at++
		}
		at++
	} else if (c == "{") {
		at++
		while ((c = blank()) != "}" && c != "") {
			key = scalar(":")
			blank(); at++
			node(path "/" key, ",]}")
			if (blank() == ",") at++
		}
		at++
	} else leaf(path, scalar(stop))
}

# One line of block style at this indent; the rest of "- key: value" is a line of its own, further in.
function line(indent,    rest, key, item) {
	item = text ~ /^-([ \t]|$)/
	while (depth && (indents[depth] > indent || indents[depth] == indent && (items[depth] || !item))) depth--
	if (item) {
		key = count[paths[depth]]++
		push(indent, paths[depth] "/" key, 1)
		rest = substr(text, 2)
		match(rest, /^[ \t]*/)
		text = substr(rest, RLENGTH + 1)
		if (text ~ /^[^\[{"'][^:]*:([ \t]|$)/ || text ~ /^-[ \t]/) line(indent + 1 + RLENGTH)
		else if (text != "") { at = 1; node(paths[depth], "") }
		return
	}
	at = 1
	key = scalar(":")
	at++
	push(indent, paths[depth] "/" key, 0)
	if (blank() != "") node(paths[depth], "")
}

function push(indent, path, item) {
	depth++
	indents[depth] = indent; paths[depth] = path; items[depth] = item
	if (!item) count[path] = 0
}

{ sub(/\r$/, "") }
/^[ \t]*(#|$)/ || /^---/ { next }
json == "" { json = /^[ \t]*\{/ }
json { whole = whole " " $0; next }
{
	sub(/[ \t]#.*$/, ""); sub(/[ \t]+$/, "")
	match($0, /^ */)
	text = substr($0, RLENGTH + 1)
	line(RLENGTH)
}
END { if (json) { text = whole; at = 1; node("", "") } }
