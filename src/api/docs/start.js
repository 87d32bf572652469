window.ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  // The validator is a service on the internet.
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
});
