// Words, dates and amounts in the person's language.

const languages = { pt: 'pt-BR', en: 'en' };

const wanted = navigator.languages.map((tag) => tag.toLowerCase().split('-')[0]).find((base) => languages[base]);

// language is one of those that the page speaks; locale is how dates and numbers are written, which may be another country's.
export const language = languages[wanted ?? 'en'];
const locale = navigator.languages.find((tag) => tag.toLowerCase().startsWith(wanted ?? 'en')) ?? language;

let words = {};

export async function learn() {
  document.documentElement.lang = language;
  words = await (await fetch(new URL(`${language}.json`, import.meta.url))).json();
}

const plurals = new Intl.PluralRules(locale);

// t is the text of a key with its values filled in. Where a text has forms for numbers, n chooses.
export function t(key, values = {}) {
  let text = words[key] ?? key;
  if (typeof text === 'object') text = text[plurals.select(values.n)] ?? text.other;
  return text.replace(/\{(\w+)\}/g, (all, name) => {
    const value = values[name];
    return typeof value === 'number' ? number(value) : value ?? all;
  });
}

export const has = (key) => key in words;

// rich is t with some values as elements.
export function rich(key, values) {
  const text = words[key] ?? key;
  return text.split(/(\{\w+\})/).map((part) => (part.startsWith('{') ? values[part.slice(1, -1)] ?? part : part));
}

const memo = (make) => {
  const made = new Map();
  return (id) => made.get(id) ?? made.set(id, make(id)).get(id);
};

const numbers = new Intl.NumberFormat(locale);
const number = (n) => numbers.format(n);

const currencies = memo((currency) => {
  try {
    return new Intl.NumberFormat(locale, { style: 'currency', currency, maximumFractionDigits: 8 });
  } catch { // not an official code
    return { format: (n) => `${number(n)} ${currency}` };
  }
});

// amount writes a decimal text without ever making a binary fraction of it.
export const amount = (text, currency) => currencies(currency).format(text);

const days = new Intl.DateTimeFormat(locale, { dateStyle: 'medium', timeZone: 'UTC' });

// day writes a date such as 2026-01-31, which has no time zone.
export const day = (date) => days.format(new Date(`${date}T00:00:00Z`));

const moments = new Intl.DateTimeFormat(locale, { dateStyle: 'medium', timeStyle: 'short' });
export const moment = (time) => moments.format(new Date(time));

const distances = new Intl.RelativeTimeFormat(locale, { numeric: 'auto' });
const units = [['day', 86400], ['hour', 3600], ['minute', 60]];

// ago says how long ago or ahead a time is, in the largest unit that fits.
export function ago(time) {
  const seconds = (new Date(time) - Date.now()) / 1000;
  for (const [unit, size] of units) {
    if (Math.abs(seconds) >= size || (seconds > 0 && unit === 'minute')) return distances.format(seconds > 0 ? Math.ceil(seconds / size) : Math.trunc(seconds / size), unit);
  }
  return distances.format(0, 'second');
}

export const daysUntil = (time) => Math.max(0, Math.ceil((new Date(time) - Date.now()) / 86400e3));

const regions = new Intl.DisplayNames(locale, { type: 'region' });
export const country = (code) => regions.of(code) ?? code;

export const compare = new Intl.Collator(locale, { sensitivity: 'base', numeric: true }).compare;

// plain is a text as a search compares it: without case and accents.
export const plain = (text) => text.normalize('NFD').replace(/\p{M}/gu, '').toLowerCase();
