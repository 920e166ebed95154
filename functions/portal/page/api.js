// The functions, by their names. The access token is kept here, in memory, and nowhere else.

const portal = new URL(document.querySelector('meta[name=portal]').content, document.baseURI);

let urls; // of the functions
let token = '';

// Problem is a refusal: code is for programs, detail a sentence for the person.
export class Problem extends Error {
  constructor(body) {
    super(body.detail);
    Object.assign(this, body);
  }
}

const offline = () => new Problem({ status: 0, code: 'offline', detail: 'The service cannot be reached. Look at your connection to the internet, and try again.' });

async function ask(url, options) {
  try {
    return await fetch(url, { cache: 'no-store', ...options });
  } catch {
    throw offline();
  }
}

async function read(answer) {
  if (answer.ok) return answer.status === 204 ? null : answer.json();
  let body;
  try {
    body = await answer.json();
  } catch {
    body = {};
  }
  const seconds = body.seconds ?? Number(answer.headers.get('Retry-After'));
  throw new Problem({ code: 'internal', detail: answer.statusText, ...body, seconds, status: answer.status });
}

// configure learns where the functions are.
export async function configure() {
  const config = await read(await ask(new URL('config', portal)));
  urls = { ...config.functions, portal: portal.href.replace(/\/$/, '') };
  return config;
}

// signIn gets an access token for who is signed in; false where nobody is.
export async function signIn() {
  const answer = await ask(`${urls.auth}/refresh`, { method: 'POST', credentials: 'include' });
  if (answer.status === 401) {
    token = '';
    return false;
  }
  token = (await read(answer)).accessToken;
  return true;
}

let signing; // one refresh for all calls that were refused together

const again = () => (signing ??= signIn().finally(() => (signing = undefined)));

const wait = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

const patience = 5; // seconds that a list may wait unasked
let onSignedOut = () => {};
export const whenSignedOut = (f) => (onSignedOut = f);

async function call(url, options, tries = 2) {
  const used = token;
  const answer = await ask(url, { ...options, headers: { ...options.headers, Authorization: `Bearer ${token}` } });
  if (answer.status === 401 && tries > 0) {
    if (used !== token || (await again())) return call(url, options, tries - 1);
    onSignedOut();
  }
  try {
    return await read(answer);
  } catch (problem) {
    if (problem.status !== 503 || problem.seconds > patience || tries === 0 || options.method) throw problem;
    await wait(problem.seconds);
    return call(url, options, tries - 1);
  }
}

// get reads a list of the portal; options are those of fetch.
export function get(list, query = {}, options = {}) {
  const url = new URL(`${urls.portal}/${list}`);
  for (const [name, value] of Object.entries(query)) if (value) url.searchParams.set(name, value);
  return call(url, options);
}

// post calls an action, such as "connect/complete".
export function post(action, body) {
  const [name, ...rest] = action.split('/');
  return call([urls[name], ...rest].join('/'), { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
}

const returning = (url, to) => {
  const u = new URL(url);
  u.searchParams.set('returnUrl', to);
  return u.href;
};

// loginURL is where a person signs in, to come back to this page; from may be the address that a refusal gave.
export const loginURL = (from = `${urls.auth}/login`, to = location.href) => returning(from, to);

export const logoutURL = () => returning(`${urls.auth}/logout`, location.href.split('#')[0]);

// widget loads the module of a provider whose sign-in is shown over the page.
export const widget = (path) => import(new URL(path, portal).href);
