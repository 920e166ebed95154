// Shows Pluggy's widget over the page. The address of its script is filled in where this file is served.
const script = "{{script}}";

let loading;

// load brings Pluggy's script in, once; a failure may be tried again.
function load() {
  loading ??= new Promise((resolve, reject) => {
    const element = document.createElement("script");
    element.src = script;
    element.onload = resolve;
    element.onerror = () => {
      loading = undefined;
      element.remove();
      reject(new Error("The bank's sign-in could not be loaded."));
    };
    document.head.append(element);
  });
  return loading;
}

// open resolves with the item that came of the visit, if any. An item may exist even after an error, and must be told then too.
export async function open({ token, language, dark, institution }) {
  const visit = JSON.parse(token);
  await load();
  return new Promise((resolve) => {
    let item;
    const widget = new window.PluggyConnect({
      ...visit,
      countries: ["BR"],
      products: ["ACCOUNTS", "CREDIT_CARDS", "TRANSACTIONS"],
      language,
      theme: dark ? "dark" : "light",
      ...(institution && !visit.updateItem ? { selectedConnectorId: Number(institution) } : {}),
      onSuccess: (data) => {
        item = data?.item?.id ?? item;
        widget.destroy?.();
        resolve({ item });
      },
      onError: (error) => {
        item = error?.data?.item?.id ?? item;
      },
      onEvent: (event) => {
        item = event?.item?.id ?? item;
      },
      onClose: () => resolve({ item }),
    });
    widget.init();
  });
}
