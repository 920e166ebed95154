// Shows what came into the Book meanwhile. Nothing is replaced under a hand that types.
const parts = ["news", "names", "accounts", "transactions"];
const every = 2000; // ms
let tag = "";

function typing() {
	const at = document.activeElement;
	const changed = [...document.querySelectorAll("#transactions input")].some((i) => i.value !== i.defaultValue);
	return changed || (at?.matches("input") && at.closest("#transactions"));
}

function replace(fresh) {
	const at = document.activeElement?.id;
	for (const id of parts) {
		const old = document.getElementById(id);
		const now = fresh.getElementById(id);
		if (old && now && old.innerHTML !== now.innerHTML) {
			old.replaceChildren(...now.childNodes);
		}
	}
	if (at) {
		document.getElementById(at)?.focus({ preventScroll: true });
	}
}

async function look() {
	if (!document.hidden && !typing()) {
		const answer = await fetch(location.href, { cache: "no-store", headers: tag ? { "If-None-Match": tag } : {} });
		if (answer.ok) {
			const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
			if (!typing()) {
				tag = answer.headers.get("ETag");
				replace(fresh);
			}
		}
	}
}

// A sandbox that was stopped for a while is looked for again.
setInterval(() => look().catch(() => {}), every);
