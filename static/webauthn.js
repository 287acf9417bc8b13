// Security keys: the browser asks the key, and the form sends what it answered.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  for (const form of document.querySelectorAll("form[data-webauthn]")) listen(form);

  function listen(form) {
    const problem = form.querySelector("[data-problem]");
    const tell = (words) => {
      problem.textContent = words;
      problem.hidden = false;
    };
    form.addEventListener("submit", async (event) => {
      if (form.elements.credential.value) return;
      event.preventDefault();
      problem.hidden = true;
      if (!window.isSecureContext) return tell("Browsers give keys to pages over https alone.");
      if (!window.PublicKeyCredential?.parseRequestOptionsFromJSON) return tell("This browser is too old for it.");
      try {
        form.elements.credential.value = JSON.stringify((await ask(form)).toJSON());
      } catch (error) {
        return tell(
          error.name === "InvalidStateError"
            ? "You added this key before."
            : "The key did not answer, or you said no. Try again."
        );
      }
      form.submit();
    });
  }

  function ask(form) {
    const { publicKey } = JSON.parse(form.dataset.options);
    if (form.dataset.webauthn === "create") {
      return navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(publicKey) });
    }
    return navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(publicKey) });
  }
});
